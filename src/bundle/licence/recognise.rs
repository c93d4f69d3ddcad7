//! Which licences a text contains.
//!
//! A licence is recognised by the whole of its terms, word for word: a likeness says nothing about
//! what somebody put in or left out. Only letters and digits count, not case, layout, punctuation
//! or bullets, and where the terms name somebody, any name will do. What stands beside the terms is
//! looked at too; whatever is not known to say nothing is quoted, for a person to read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

/// Longest stretch that a gap in a wording may take, in letters.
const GAP: usize = 160;
/// Longest line of copyright that is passed over, in words.
const COPYRIGHT_WORDS: usize = 60;

/// What a text was found to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recognised {
    /// The SPDX identifiers of the licences whose terms it contains. Whether "or any later version"
    /// holds is not said in the terms.
    pub(super) ids: BTreeSet<&'static str>,
    /// The first line that is neither of those terms nor known to change nothing; the first of all
    /// if nothing was recognised.
    pub(super) other: Option<String>,
}

/// The terms. `…` is a gap; `%%` stands between texts of one file.
const TERMS: [(&str, &str); 16] = [
    ("AGPL-3.0", include_str!("texts/AGPL-3.0.txt")),
    ("Apache-2.0", include_str!("texts/Apache-2.0.txt")),
    ("BSD-2-Clause", include_str!("texts/BSD-2-Clause.txt")),
    ("BSD-3-Clause", include_str!("texts/BSD-3-Clause.txt")),
    ("BSL-1.0", include_str!("texts/BSL-1.0.txt")),
    ("CC0-1.0", include_str!("texts/CC0-1.0.txt")),
    ("EUPL-1.2", include_str!("texts/EUPL-1.2.txt")),
    ("GPL-2.0", include_str!("texts/GPL-2.0.txt")),
    ("GPL-3.0", include_str!("texts/GPL-3.0.txt")),
    ("ISC", include_str!("texts/ISC.txt")),
    ("LGPL-2.1", include_str!("texts/LGPL-2.1.txt")),
    ("LGPL-3.0", include_str!("texts/LGPL-3.0.txt")),
    ("MIT", include_str!("texts/MIT.txt")),
    ("MPL-2.0", include_str!("texts/MPL-2.0.txt")),
    ("Unlicense", include_str!("texts/Unlicense.txt")),
    ("Zlib", include_str!("texts/Zlib.txt")),
];

/// What the licences' own authors put around their terms: preambles, and how to apply them.
const AROUND: &str = include_str!("texts/around.txt");

/// Words of headings, with which nothing can be allowed or forbidden.
const HEADING: &str = "the this is are of and for under version license licence licenses licensed released \
    distributed available terms conditions mit expat bsd isc apache mozilla public gnu general lesser library affero \
    gpl lgpl agpl mpl eupl european union zlib boost software unlicense creative commons legal code cc0 universal \
    clause new revised simplified two three project package preamble end appendix copying distribution modification \
    use reproduction spdx identifier all rights reserved january february june august november 17th its";

/// Words with which something can; a line of copyright that has one of them is shown.
const OPERATIVE: &str = "not no non without unless except only must may shall should cannot can will if when provided \
    prohibited forbidden restricted commercial noncommercial permission permitted permit permits allowed grant granted \
    license licence licensed use used uses terms conditions subject patent patents proprietary confidential fee \
    solely nobody nothing until expires void evaluation academic research";

struct Wording {
    id: Option<&'static str>,
    parts: Vec<String>,
}

static WORDINGS: LazyLock<Vec<Wording>> = LazyLock::new(|| {
    let terms = TERMS.iter().map(|&(id, text)| (Some(id), text)).chain([(None, AROUND)]);
    let texts = terms.flat_map(|(id, texts)| texts.split("\n%%\n").map(move |text| (id, text)));
    texts
        .map(|(id, text)| Wording { id, parts: text.split('…').map(|part| Folded::new(part).letters).collect() })
        .collect()
});

/// Looks through a text.
pub(super) fn recognise(text: &str) -> Recognised {
    let folded = Folded::new(text);
    let mut ids = BTreeSet::new();
    let mut known = Vec::new();
    for wording in WORDINGS.iter() {
        let mut from = 0;
        while let Some(found) = wording.find(text, &folded, from) {
            from = found.end;
            known.push(folded.source(text, &found));
            ids.extend(wording.id);
        }
    }
    known.sort_unstable_by_key(|range| range.start);
    let other = if ids.is_empty() {
        text.lines().map(str::trim).find(|line| words(line).next().is_some()).map(str::to_owned)
    } else {
        beside(text, &known).find_map(first_telling_line)
    };
    Recognised { ids, other }
}

impl Wording {
    /// The first place at or after `from` where the whole wording stands.
    fn find(&self, text: &str, folded: &Folded, mut from: usize) -> Option<Range<usize>> {
        let (first, rest) = self.parts.split_first()?;
        loop {
            let start = from + folded.letters.get(from..)?.find(first.as_str()).filter(|_| !first.is_empty())?;
            let end = rest.iter().try_fold(start + first.len(), |at, part| folded.follow(text, at, part));
            if let Some(end) = end {
                return Some(start..end);
            }
            from = start + first.len();
        }
    }
}

/// A text as its letters and digits, in lower case, without spaces, single letters and addresses,
/// and where they come from.
struct Folded {
    /// ASCII only, so that every place is the start of a letter.
    letters: String,
    /// Of each letter, where it starts in the source.
    places: Vec<usize>,
}

impl Folded {
    fn new(text: &str) -> Self {
        let mut folded = Self { letters: String::new(), places: Vec::new() };
        for (at, word) in words(text) {
            for (offset, character) in word.char_indices() {
                // Letters beyond ASCII are in names only; they must not let two words meet.
                let character = if character.is_ascii() { character.to_ascii_lowercase() } else { '*' };
                folded.letters.push(character);
                folded.places.push(at + offset);
            }
        }
        folded
    }

    /// The end of `part` after a gap that starts `at`, if nothing of weight is in the gap.
    fn follow(&self, text: &str, at: usize, part: &str) -> Option<usize> {
        let end = (at + GAP + part.len()).min(self.letters.len());
        let gap = self.letters.get(at..end)?.find(part)?;
        let skipped = text.get(self.source(text, &(at..at + gap))).unwrap_or_default();
        (!has_word_of(skipped, OPERATIVE)).then_some(at + gap + part.len())
    }

    /// Where these letters are in the source.
    fn source(&self, text: &str, letters: &Range<usize>) -> Range<usize> {
        let place = |letter: usize| self.places.get(letter).copied();
        let start = place(letters.start).unwrap_or(text.len());
        let last = letters.end.checked_sub(1).filter(|_| !letters.is_empty()).and_then(place);
        let end = |last: usize| last + text.get(last..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        start..last.map_or(start, end)
    }
}

/// Runs of letters and digits longer than one, with their places; addresses are left out.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let pieces = pieces(text, char::is_whitespace).filter(|(_, piece)| !is_address(piece));
    let words = pieces.flat_map(|(at, piece)| pieces_of_word(piece).map(move |(offset, word)| (at + offset, word)));
    words.filter(|(_, word)| word.chars().nth(1).is_some())
}

fn pieces_of_word(piece: &str) -> impl Iterator<Item = (usize, &str)> {
    pieces(piece, |character| !character.is_alphanumeric())
}

fn pieces(text: &str, is_between: fn(char) -> bool) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive(is_between).map(move |piece| {
        let start = at;
        at += piece.len();
        (start, piece.trim_end_matches(is_between))
    })
}

fn is_address(piece: &str) -> bool {
    let piece = piece.trim_start_matches(|character: char| !character.is_alphanumeric());
    ["http://", "https://"]
        .iter()
        .any(|scheme| piece.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme)))
}

/// What is between these ranges.
fn beside<'t>(text: &'t str, known: &[Range<usize>]) -> impl Iterator<Item = &'t str> {
    let mut end = 0;
    let mut gaps = Vec::new();
    for range in known {
        gaps.push(end..range.start.max(end));
        end = end.max(range.end);
    }
    gaps.push(end..text.len());
    gaps.into_iter().filter_map(|gap| text.get(gap))
}

/// The first line that may change what the licence means.
fn first_telling_line(text: &str) -> Option<String> {
    let mut in_copyright = false;
    for line in text.lines() {
        let count = words(line).count();
        in_copyright &= !line.trim_matches(['>', ' ', '\t', '*', '#']).is_empty();
        in_copyright |= starts_copyright(line);
        let names = in_copyright && count <= COPYRIGHT_WORDS && !has_word_of(line, OPERATIVE);
        if count > 0 && !names && !is_heading(line) {
            return Some(line.trim().to_owned());
        }
    }
    None
}

fn starts_copyright(line: &str) -> bool {
    let start = line.trim_start_matches(|character: char| !character.is_alphanumeric() && !"(©".contains(character));
    let starts = |with: &str| start.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    ["copyright", "portions copyright", "(c)", "©"].into_iter().any(starts)
}

/// Whether all words are [`HEADING`]'s, but for numbers and the name of a Julia package.
fn is_heading(line: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) || is_one_of(word, HEADING);
    let is_package = |piece: &str| {
        let name = piece.trim_matches(|character: char| !character.is_alphanumeric()).strip_suffix(".jl");
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    line.split_whitespace().all(|piece| is_package(piece) || words(piece).all(|(_, word)| is_word(word)))
}

fn has_word_of(text: &str, list: &str) -> bool {
    words(text).any(|(_, word)| is_one_of(word, list))
}

fn is_one_of(word: &str, list: &str) -> bool {
    list.split_whitespace().any(|one| one.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIT: &str = include_str!("texts/MIT.txt");
    const MIT_TITLE: &str =
        "MIT License\n\nCopyright (c) 2020 Ada L\u{f6}velace <ada@example.org> and contributors\n\n";

    fn found(text: &str) -> (String, Option<String>) {
        let Recognised { ids, other } = recognise(text);
        (ids.into_iter().collect::<Vec<_>>().join(" AND "), other)
    }

    fn mit(title: &str) -> String {
        let holders = MIT.replace("SHALL … BE", "SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE").replace(" …", "");
        format!("{title}{holders}")
    }

    #[test]
    fn every_licence_is_recognised_by_its_terms_and_as_no_other() {
        for (id, text) in TERMS {
            let filled = text.replace('…', "");
            assert_eq!(found(&filled), (id.to_owned(), None), "{id}");
            let upper = filled.to_uppercase().replace(' ', "\n  > ");
            assert_eq!(found(&upper), (id.to_owned(), None), "{id} laid out differently");
        }
    }

    #[test]
    fn a_licence_with_anything_missing_or_put_in_is_not_recognised() {
        for (id, text) in TERMS {
            let words: Vec<&str> = text.split_whitespace().collect();
            for at in [3, words.len() / 3, words.len() / 2, words.len() - 9] {
                let mut less = words.clone();
                less.remove(
                    (at..words.len())
                        .find(|&at| words[at].len() > 3 && words[at].bytes().all(|byte| byte.is_ascii_alphabetic()))
                        .unwrap(),
                );
                assert_eq!(found(&less.join(" ")).0, "", "{id} without word {at}");
            }
            for at in [3, words.len() / 2] {
                let mut more = words.clone();
                more.insert(at, "not");
                assert_eq!(found(&more.join(" ")).0, "", "{id} with a word at {at}");
            }
        }
    }

    #[test]
    fn what_stands_beside_the_terms_is_passed_over_only_if_it_says_nothing() {
        for title in [
            MIT_TITLE,
            "The Foo.jl package is licensed under the MIT \"Expat\" License:\n\n> Copyright (c) 2012-2020: Ada, Bob,\n> and others:\n>\n> https://example.org/people\n>\n",
            "# The MIT License (MIT)\n(c) 2019, 2020 Ada. All rights reserved.\n",
            "",
        ] {
            assert_eq!(found(&mit(title)), ("MIT".into(), None), "{title}");
        }
        for line in [
            "The Software shall be used for Good, not Evil.",
            "Only the documentation is licensed under the MIT License",
            "Nothing is licensed under the MIT License",
            "Copyright (c) 2020 Ada. No commercial use.",
            "Parts of this are under other licenses",
        ] {
            assert_eq!(found(&mit(&format!("{MIT_TITLE}{line}\n\n"))), ("MIT".into(), Some(line.into())));
            assert_eq!(found(&format!("{}\n\n{line}\n", mit(MIT_TITLE))), ("MIT".into(), Some(line.into())));
        }
    }

    #[test]
    fn a_gap_holds_a_name_and_no_condition() {
        let with = |name: &str| MIT.replace("SHALL … BE", &format!("SHALL {name} BE")).replace(" …", "");
        assert_eq!(found(&with("ADA & SONS, INC.")).0, "MIT");
        assert_eq!(found(&with("ADA, UNLESS PAID,")).0, "");
        assert_eq!(found(&with(&"x ".repeat(1000))).0, "MIT", "bullets do not count");
        assert_eq!(found(&with(&"xy ".repeat(1000))).0, "");
        assert_eq!(found(&mit("").replace("Software without restriction", "Software for research")).0, "");
    }

    #[test]
    fn several_licences_in_one_text_are_all_named() {
        let isc = include_str!("texts/ISC.txt").replace("AND … DISCLAIM…", "AND ADA DISCLAIMS").replace('…', "");
        let (ids, other) = found(&format!("{}\n\nThe file src/x.jl is Bob's:\n\n{isc}", mit(MIT_TITLE)));
        assert_eq!((ids.as_str(), other.as_deref()), ("ISC AND MIT", Some("The file src/x.jl is Bob's:")));
    }

    #[test]
    fn what_is_not_known_is_quoted_and_breaks_nothing() {
        assert_eq!(found("\n\n  # My License\nDo what you like."), (String::new(), Some("# My License".into())));
        assert_eq!(found(""), (String::new(), None));
        assert_eq!(found("MIT"), (String::new(), Some("MIT".into())), "a name is no licence");
        assert_eq!(found(&mit(MIT_TITLE)[..900]), (String::new(), Some("MIT License".into())));
        let odd = "\u{130}\u{1f600} \u{feff}é".repeat(5000);
        assert_eq!(found(&odd).0, "");
    }
}
