//! The name of the folder in a depot that holds one version of a package.

use crate::protocol::{TreeHash, Uuid};

/// Letters of a slug, and those that older versions of Julia gave it; clients look for both
/// (`base/loading.jl`, `explicit_manifest_uuid_path`).
pub const SLUG_LENGTHS: [usize; 2] = [5, 4];

const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The slug of a version of a package (Julia `base/loading.jl`, `version_slug`): CRC-32C over the
/// uuid as a little-endian number and then the bytes of the tree hash, as digits to the base 62 with
/// the lowest first.
pub fn version_slug(uuid: Uuid, tree: TreeHash, length: usize) -> String {
    let of_uuid = crc32c::crc32c(&uuid.as_u128().to_le_bytes());
    let mut left = crc32c::crc32c_append(of_uuid, tree.as_bytes());
    let mut slug = String::with_capacity(length);
    for _ in 0..length {
        slug.extend(LETTERS.get((left % 62) as usize).copied().map(char::from));
        left /= 62;
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_of_julia() {
        let uuid: Uuid = "7876af07-990d-54b4-ab0e-23690620f79a".parse().unwrap();
        let tree: TreeHash = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc".parse().unwrap();
        // Printed by Julia 1.5.3.
        assert_eq!(version_slug(uuid, tree, 5), "aqsx3");
        assert_eq!(version_slug(uuid, tree, 4), "aqsx");
    }
}
