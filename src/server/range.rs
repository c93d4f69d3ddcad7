//! `Range`, as far as a server of immutable files needs it (RFC 9110, 14).

use std::ops::Range;

/// What a `Range` header asks of a body of known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no header, a malformed one, another unit, or several ranges, which a server may
    /// ignore.
    Whole,
    /// One part, not empty and within the body.
    Part(Range<u64>),
    /// Nothing that this body has.
    Unsatisfiable,
}

/// Reads a `Range` header.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    header.and_then(|header| parse(header, size)).unwrap_or(Wanted::Whole)
}

fn parse(header: &str, size: u64) -> Option<Wanted> {
    let (unit, set) = header.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let part = match (first.trim(), last.trim()) {
        ("", suffix) => size.saturating_sub(number(suffix)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if part.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(part) })
}

/// Digits only. More of them than a size can have mean "beyond the end".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(header: &str, expected: &Wanted) {
        assert_eq!(wanted(Some(header), 10), *expected, "{header}");
    }

    #[test]
    fn single_ranges() {
        for (header, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=5-99", 5..10),
            ("BYTES = 5 - 6 ", 5..7),
            ("bytes=0-99999999999999999999999", 0..10),
        ] {
            check(header, &Wanted::Part(part));
        }
    }

    #[test]
    fn ranges_beyond_the_end_cannot_be_satisfied() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            check(header, &Wanted::Unsatisfiable);
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn malformed_and_multiple_ranges_are_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=+1-2", "lines=1-2", "bytes=0-1,3-4"]
        {
            check(header, &Wanted::Whole);
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_beyond_the_end(header in "bytes ?=[0-9-]{0,24}|\\PC{0,24}", size in 0u64..1000) {
            if let Wanted::Part(part) = wanted(Some(&header), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
