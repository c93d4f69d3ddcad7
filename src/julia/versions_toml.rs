//! `Versions.toml` in the form in which registries write it, read without a TOML parser.
//!
//! General has more than ten thousand of these files with a hundred thousand versions, all of one
//! form, and reading them was half of the time to load it. Whatever deviates in a single character
//! is left to the parser, so this reader need not know what else is TOML.

use super::registry::VersionEntry;
use crate::protocol::TreeHash;

/// The versions in the order of their text, or `None` if the text has not the regular form:
///
/// ```toml
/// ["1.2.3"]
/// git-tree-sha1 = "0123456789012345678901234567890123456789"
/// yanked = true
/// ```
///
/// without the last line for most, with empty lines in between.
pub(super) fn read_regular(text: &str) -> Option<Vec<VersionEntry>> {
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        let version = line.strip_prefix("[\"")?.strip_suffix("\"]")?;
        let tree = lines.next()?.strip_prefix("git-tree-sha1 = \"")?.strip_suffix('"')?;
        let yanked = lines.next_if(|line| *line == "yanked = true").is_some();
        let tree = TreeHash::from_hex_any_case(tree).ok()?;
        versions.push(VersionEntry { version: plain(version)?.to_owned(), tree, yanked });
    }
    versions.sort_unstable_by(|a, b| a.version.cmp(&b.version));
    let twice = versions.windows(2).any(|pair| matches!(pair, [a, b] if a.version == b.version));
    (!twice).then_some(versions)
}

/// A version that is the same inside of quotes and outside.
fn plain(version: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
    (!version.is_empty() && version.len() < 100 && version.bytes().all(is_plain)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::super::registry::parse_versions_as_toml;
    use super::*;
    use proptest::prelude::*;

    const TREE: &str = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";

    #[test]
    fn the_regular_form_is_read() {
        let text = format!(
            "[\"0.5.3\"]\ngit-tree-sha1 = \"{TREE}\"\nyanked = true\n\n[\"0.10.0+1\"]\ngit-tree-sha1 = \"{TREE}\"\n"
        );
        assert_eq!(read_regular(&text).unwrap(), parse_versions_as_toml(&text).unwrap());
        assert_eq!(read_regular("").unwrap(), []);
    }

    #[test]
    fn whatever_deviates_is_left_to_the_parser() {
        let regular = format!("[\"1.0.0\"]\ngit-tree-sha1 = \"{TREE}\"\n");
        assert!(read_regular(&regular).is_some());
        for other in [
            regular.replace('\"', "'"),
            regular.replace(" = ", "="),
            format!("{regular}{regular}"),
            format!("{regular}yanked = false\n"),
            format!("# a comment\n{regular}"),
            regular.replace("1.0.0", "1\\u002e0"),
            regular.replace("1.0.0", ""),
            regular.replace("46e4", "46g4"),
            format!(" {regular}"),
        ] {
            assert_eq!(read_regular(&other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_reads(
            text in "(\\[(\"|')[0-9]\\.[0-9](\"|')\\]\n(git-tree-sha1 ?= \"[0-9a-f]{40}\"\n){0,2}(yanked = true\n)?\r?\n?){0,3}"
        ) {
            if let Some(versions) = read_regular(&text) {
                prop_assert_eq!(Ok(versions), parse_versions_as_toml(&text));
            }
        }
    }
}
