//! Parsers against slow ones that are plainly right.

use super::range::{Wanted, wanted};
use airlock::julia::{Version, VersionRange};
use std::cmp::Ordering;

/// A byte for the size of a body, then a `Range` header: the bytes that are given are those that a
/// look at each of them by itself finds.
pub(crate) fn range_header(bytes: &[u8]) {
    let [size, header @ ..] = bytes else { return };
    let Ok(header) = std::str::from_utf8(header) else { return };
    let size = u64::from(*size);
    let expected = positions(header, size);
    let got = match wanted(Some(header), size) {
        Wanted::Whole => None,
        Wanted::Unsatisfiable => Some(Vec::new()),
        Wanted::Part(part) => {
            assert!(!part.is_empty() && part.end <= size);
            Some(part.collect())
        }
    };
    assert_eq!(got, expected, "{header:?} of {size}");
}

/// The positions that a header asks for, each looked at by itself; `None` if there is no one range.
fn positions(header: &str, size: u64) -> Option<Vec<u64>> {
    let (unit, set) = header.split_once('=')?;
    let (first, last) = set.split_once('-')?;
    let [unit, first, last] = [unit.trim(), first.trim(), last.trim()];
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("bytes") || !is_number(first) || !is_number(last) {
        return None;
    }
    let asked: Box<dyn Fn(u64) -> bool> = match (first, last) {
        ("", "") => return None,
        ("", suffix) => Box::new(|at| compare(&(size - at).to_string(), suffix).is_le()),
        (first, "") => Box::new(|at| compare(&at.to_string(), first).is_ge()),
        // Numbers beyond all sizes are one number.
        (first, last) if beyond_all(last) < beyond_all(first) => return None,
        (first, last) => Box::new(|at| {
            let at = at.to_string();
            compare(&at, first).is_ge() && compare(&at, last).is_le()
        }),
    };
    Some((0..size).filter(|at| asked(*at)).collect())
}

fn beyond_all(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

/// Two numbers of any length, as one compares them on paper.
fn compare(left: &str, right: &str) -> Ordering {
    let [left, right] = [left, right].map(|text| text.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Ranges and versions, one in a line: a range has the versions that plain numbers between its
/// bounds have, reads back as it was written, and finds among many what it finds one by one; and
/// versions have one order.
pub(crate) fn version_ranges(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = || text.lines().take(12);
    let mut versions: Vec<Version> = lines().filter_map(|line| line.parse().ok()).collect();
    versions.extend(["0.0.0", "0.0.1", "0.1.0", "1.0.0", "1.2.3", "1.2.4-rc1", "1.10.0", "2.0.0"].map(parsed));
    let ranges: Vec<(&str, VersionRange)> = lines().filter_map(|line| Some((line, line.parse().ok()?))).collect();
    for bound in ranges.iter().flat_map(|(line, _)| line.split('-')) {
        versions.extend(bound.trim().parse::<Version>().ok().into_iter().flat_map(neighbours));
    }
    versions.sort();
    // Not only neighbours: an order that is none shows between any two.
    for (low, left) in versions.iter().enumerate() {
        for (high, right) in versions.iter().enumerate().skip(low) {
            assert!(left <= right, "{left} and {right} at {low} and {high}");
            assert_eq!(left.cmp(right), right.cmp(left).reverse());
            assert_eq!(left.cmp(right).is_eq(), left == right, "{left} and {right}");
        }
        assert_eq!(left.to_string().parse().as_ref(), Ok(left));
    }
    for (line, range) in ranges {
        let again: VersionRange = range.to_string().parse().expect("what is written can be read");
        assert_eq!(again, range, "{line:?}");
        let (lower, upper) = line.split_once('-').unwrap_or((line, line));
        let (lower, upper) = (weight(lower, 0), weight(upper, u32::MAX));
        for version in &versions {
            let at = number(&[version.major, version.minor, version.patch]);
            assert_eq!(range.contains(version), lower <= at && at <= upper, "{version} in {line:?}");
        }
        let found = range.positions(&versions, |version| version);
        let one_by_one: Vec<_> = (0..versions.len()).filter(|at| range.contains(&versions[*at])).collect();
        assert_eq!(found.collect::<Vec<_>>(), one_by_one, "{line:?}");
    }
}

fn parsed(text: &str) -> Version {
    text.parse().expect("a version")
}

/// A version and those beside it.
fn neighbours(version: Version) -> Vec<Version> {
    let Version { major, minor, patch, .. } = version;
    let near = [
        [major, minor, patch.saturating_add(1)],
        [major, minor, patch.saturating_sub(1)],
        [major, minor.saturating_add(1), 0],
        [major, minor.saturating_sub(1), u32::MAX],
        [major.saturating_add(1), 0, 0],
        [major.saturating_sub(1), u32::MAX, u32::MAX],
    ];
    near.into_iter().map(|[a, b, c]| parsed(&format!("{a}.{b}.{c}"))).chain([version]).collect()
}

/// A bound as one great number, with this in the places that it leaves open.
fn weight(bound: &str, open: u32) -> u128 {
    let bound = bound.trim();
    let bound = bound.strip_prefix('v').unwrap_or(bound);
    let mut numbers = [open; 3];
    let given = bound.split('.').filter(|part| *part != "*");
    numbers.iter_mut().zip(given).for_each(|(slot, part)| *slot = part.parse().expect("a bound that was read"));
    number(&numbers)
}

fn number(numbers: &[u32; 3]) -> u128 {
    numbers.iter().fold(0, |sum, number| (sum << 32) | u128::from(*number))
}
