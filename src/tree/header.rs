//! One 512-byte tar header block, and the records of a pax extended header.
//!
//! Lenient where Julia's `Tar.jl` is (the prefix counts whatever the magic says, the octal digits
//! may end with a space or NUL) and strict where it is.

/// Length of a tar block; everything is padded to it.
pub const BLOCK: usize = 512;

/// The fields that matter, not yet checked against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name, its prefix included.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// The permissions.
    pub mode: u64,
    /// Bytes of content that follow, without their padding.
    pub size: u64,
    /// What it is: `0` or NUL for a regular file.
    pub type_flag: u8,
}

/// Reads a header block that is not all zeros.
pub fn parse(block: &[u8; BLOCK]) -> Result<Header, &'static str> {
    check_version(text(&block[263..265]))?;
    let sum = octal(&block[148..156]).ok_or("malformed checksum, so this is not a tar archive")?;
    if sum != checksum(block) {
        return Err("wrong checksum, so this is not a tar archive or it is damaged");
    }
    let mode = octal(&block[100..108]).ok_or("malformed mode")?;
    if mode > 0xffff {
        return Err("mode too large");
    }
    Ok(Header {
        path: joined(text(&block[345..500]), text(&block[..100])),
        link: text(&block[157..257]).to_vec(),
        mode,
        size: number(&block[124..136])?,
        type_flag: block[156],
    })
}

/// Zeros, then spaces: what ustar (`00`) and GNU (` `) write.
fn check_version(version: &[u8]) -> Result<(), &'static str> {
    let digits = version.iter().take_while(|byte| **byte == b'0').count();
    let spaces = version.iter().skip(digits).all(|byte| *byte == b' ');
    if spaces { Ok(()) } else { Err("unknown version, so this is not a tar archive") }
}

/// The sum of all bytes with the checksum field itself read as spaces.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn joined(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// A size: octal, or base-256 after a first byte of 0x80.
fn number(field: &[u8]) -> Result<u64, &'static str> {
    match field {
        [0x80, digits @ ..] => base_256(digits).ok_or("size too large"),
        [first, ..] if first & 0x80 != 0 => Err("size negative or too large"),
        _ => octal(field).ok_or("malformed size"),
    }
}

fn base_256(digits: &[u8]) -> Option<u64> {
    let value = digits.iter().try_fold(0_u64, |value, digit| value.checked_mul(256)?.checked_add(u64::from(*digit)))?;
    i64::try_from(value).is_ok().then_some(value)
}

/// Octal digits after spaces, ended by a space, a NUL or the field's end; at least one byte other
/// than a space must come first, and it must be a digit.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ')?;
    let digits = field.get(start..).unwrap_or_default();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    let digits = digits.get(..end).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Walks pax records (`LENGTH KEY=VALUE\n`, the length counting itself) and hands each to `take`.
pub(super) fn pax_records(
    mut data: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    const MALFORMED: &str = "malformed extended header";
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ').ok_or(MALFORMED)?;
        let length = decimal(&data[..space]).and_then(|length| usize::try_from(length).ok()).ok_or(MALFORMED)?;
        let (record, rest) = data.split_at_checked(length).ok_or(MALFORMED)?;
        let body = record.get(space + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(MALFORMED)?;
        let equals = body.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
        take(&body[..equals], &body[equals + 1..])?;
        data = rest;
    }
    Ok(())
}

/// Decimal digits, at least one.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let value = |value: u64, digit: &u8| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_writer() {
        assert_eq!(number(b"00000001234\0"), Ok(0o1234));
        assert_eq!(number(b"     1234 \0\0"), Ok(0o1234));
        assert_eq!(number(b"777777777777"), Ok(0o777_777_777_777));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]), Ok((2 << 32) + 1));
        for bad in [
            &[0; 12],
            b"            ",
            b"0000000128\0 ",
            b"-0000000001\0",
            &[0xff; 12],
            &[0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
        assert!(number(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]).is_err(), "over i64");
    }

    #[test]
    fn versions() {
        for good in [&b"00"[..], b" ", b"  ", b"0 ", b""] {
            assert!(check_version(good).is_ok());
        }
        for bad in [&b"01"[..], b" 0", b"x"] {
            assert!(check_version(bad).is_err());
        }
    }

    #[test]
    fn pax_records_are_counted_to_the_byte() {
        let mut seen = Vec::new();
        let collect = |key: &[u8], value: &[u8]| {
            seen.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        assert_eq!(pax_records(b"16 path=a/b/c=d\n12 comment=\n5 s=\n", collect), Ok(()));
        assert_eq!(seen[0], (b"path".to_vec(), b"a/b/c=d".to_vec()));
        assert_eq!(seen[1..], [(b"comment".to_vec(), vec![]), (b"s".to_vec(), vec![])]);
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        for bad in [
            &b"path=x\n"[..],
            b"9 path=x",
            b"8 path=x\n",
            b"11 path=x\n",
            b" 9 path=x\n",
            b"-9 path=x\n",
            b"99999999999999999999999 path=x\n",
            b"7 path\n",
            b"0 path=x\n",
            b"2 path=x\n",
            b"9 path=x\n\0",
            b"9",
        ] {
            assert!(pax_records(bad, |_, _| Ok(())).is_err(), "{}", bad.escape_ascii());
        }
    }
}
