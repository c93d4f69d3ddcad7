//! `[compat]` of a `Project.toml`: `1.2`, `^1.2`, `~1.2`, `=1.2.3`, `>=1.2`, `<2`, `1.2 - 1.4`, and
//! several of them with commas, of which any will do.
//!
//! Other than in registries, a plain `1.2` means `^1.2`: any version up to the next one that may
//! break (Pkg `Versions.jl`, `semver_spec`).

use super::range::VersionRange;

/// Not an entry of `[compat]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not versions as in [compat], such as 1.2, ~1.2 or 1.2 - 1.4")]
pub struct ParseCompatError;

/// The versions that an entry of `[compat]` allows: those in any of these ranges.
pub fn parse_compat(text: &str) -> Result<Vec<VersionRange>, ParseCompatError> {
    text.split(',').map(|part| specifier(part.trim()).ok_or(ParseCompatError)).collect()
}

fn specifier(text: &str) -> Option<VersionRange> {
    if let Some((lower, upper)) = hyphen(text) {
        return Some(VersionRange::between(&numbers(lower.trim())?, &numbers(upper.trim())?));
    }
    let prefixed = |prefix: &str| text.strip_prefix(prefix);
    if let Some(rest) = prefixed(">=").or_else(|| prefixed("≥")) {
        return Some(VersionRange::between(&triple(&inequality(rest)?), &[]));
    }
    if let Some(rest) = prefixed("=") {
        let exact = triple(&inequality(rest)?);
        return Some(VersionRange::between(&exact, &exact));
    }
    if let Some(rest) = prefixed("<") {
        return Some(VersionRange::between(&[0, 0, 0], &below(triple(&inequality(rest)?))?));
    }
    let (tilde, rest) = match prefixed("~") {
        Some(rest) => (true, rest),
        None => (false, prefixed("^").unwrap_or(text)),
    };
    let given = not_zero(numbers(rest)?)?;
    let kept = if tilde { given.len().min(2) } else { caret(&given) };
    Some(VersionRange::between(&triple(&given), given.get(..kept)?))
}

/// How many numbers stay as they are: up to the first that is not zero.
fn caret(given: &[u32]) -> usize {
    given.iter().position(|&number| number != 0).map_or(given.len(), |position| position + 1)
}

/// A hyphen has white space on both sides.
fn hyphen(text: &str) -> Option<(&str, &str)> {
    let (lower, upper) = text.split_once('-')?;
    (lower.ends_with(char::is_whitespace) && upper.starts_with(char::is_whitespace)).then_some((lower, upper))
}

fn inequality(rest: &str) -> Option<Vec<u32>> {
    let rest = rest.trim_start();
    // Pkg's pattern has `v?` twice here.
    not_zero(numbers(rest.strip_prefix('v').unwrap_or(rest))?)
}

/// `0.0.0` is no version that anybody can ask for.
fn not_zero(numbers: Vec<u32>) -> Option<Vec<u32>> {
    (numbers != [0, 0, 0]).then_some(numbers)
}

/// The numbers below which a version is lower than the given one.
fn below(version: [u32; 3]) -> Option<Vec<u32>> {
    match version {
        [major, 0, 0] => Some(vec![major.checked_sub(1)?]),
        [major, minor, 0] => Some(vec![major, minor - 1]),
        [major, minor, patch] => Some(vec![major, minor, patch - 1]),
    }
}

fn triple(numbers: &[u32]) -> [u32; 3] {
    let mut triple = [0; 3];
    triple.iter_mut().zip(numbers).for_each(|(slot, number)| *slot = *number);
    triple
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    let numbers: Vec<u32> = text.strip_prefix('v').unwrap_or(text).split('.').map(number).collect::<Option<_>>()?;
    (numbers.len() <= 3).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::version::Version;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_form_is_read_as_pkg_reads_it() {
        for (compat, inside, outside) in [
            ("1", &["1.0.0", "1.99.9"][..], &["0.9.9", "2.0.0"][..]),
            ("1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0"]),
            ("^1.2", &["1.2.0", "1.9.0"], &["1.1.9", "2.0.0"]),
            ("0.2.3", &["0.2.3", "0.2.9"], &["0.2.2", "0.3.0"]),
            ("0", &["0.0.1", "0.9.0"], &["1.0.0"]),
            ("0.0", &["0.0.0", "0.0.9"], &["0.1.0"]),
            ("0.0.3", &["0.0.3"], &["0.0.2", "0.0.4"]),
            ("~1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("~1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("~v1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
            ("=1.2", &["1.2.0"], &["1.2.1"]),
            ("= 1.2.3", &["1.2.3", "1.2.3+4"], &["1.2.4"]),
            (">=1.2", &["1.2.0", "9.0.0"], &["1.1.9"]),
            ("≥ v0.4", &["0.4.0", "9.0.0"], &["0.3.9"]),
            ("<2", &["0.0.1", "1.9.9"], &["2.0.0"]),
            ("< 1.2.0", &["1.1.9"], &["1.2.0"]),
            ("<0.0.1", &["0.0.0"], &["0.0.1"]),
            ("1.2 - 1.4", &["1.2.0", "1.4.9"], &["1.1.9", "1.5.0"]),
            ("0.7 - 1.3.1", &["0.7.0", "1.3.1"], &["1.3.2"]),
            ("0.8, 1", &["0.8.3", "1.9.0"], &["0.9.0", "2.0.0"]),
            (" ~0.3.2 ,0.5", &["0.3.9", "0.5.1"], &["0.4.0", "0.6.0"]),
        ] {
            let ranges = parse_compat(compat).unwrap_or_else(|_| panic!("{compat}"));
            let allows = |version: &str| {
                let version: Version = version.parse().unwrap();
                ranges.iter().any(|range| range.contains(&version))
            };
            assert!(inside.iter().all(|version| allows(version)), "{compat}: {inside:?}");
            assert!(!outside.iter().any(|version| allows(version)), "{compat}: {outside:?}");
        }
    }

    #[test]
    fn what_pkg_refuses_is_refused() {
        for bad in [
            "",
            ",",
            "1,",
            "*",
            "a",
            "1.2.3.4",
            "0.0.0",
            "<0",
            "<0.0.0",
            "<=1",
            ">1",
            "1.2-1.4",
            "1.2 -1.4",
            "^ 1",
            "~^1",
            "1 2",
            "1.",
            "4294967296",
            "1.2 - ",
            "1 - 2 - 3",
            "-1",
        ] {
            assert_eq!(parse_compat(bad), Err(ParseCompatError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_version_is_within_its_caret(a in 0u32..3, b in 0u32..3, c in 1u32..4, tilde: bool) {
            let version = format!("{a}.{b}.{c}");
            let ranges = parse_compat(&format!("{}{version}", if tilde { "~" } else { "" })).unwrap();
            prop_assert!(ranges[0].contains(&version.parse().unwrap()));
        }

        #[test]
        fn nothing_panics(text in r"[0-9.v^~<>=≥, -]{0,14}|\PC{0,8}") {
            let _: Result<Vec<VersionRange>, _> = parse_compat(&text);
        }
    }
}
