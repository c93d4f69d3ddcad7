//! Miss lists: what an inside server was asked for and did not have, as a text to carry outside.
//!
//! One line per resource, `PATH [NAME [VERSION]]`, below a first line that names the format. Blank
//! lines and lines that start with `#` are for people. The list is read by a machine that trusts
//! nothing from inside: the path is parsed, and name and version are only shown.

use super::error::quoted;
use super::reader::is_word;
use crate::protocol::Resource;
use std::fmt;

/// How the first line starts.
pub const MISS_LIST_HEADER: &str = "# airlock misses";

/// A list of missing resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissList {
    /// In the order of the file.
    pub entries: Vec<MissListEntry>,
}

/// A resource that was missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissListEntry {
    /// What was asked for.
    pub resource: Resource,
    /// The package's name, if a registry knew it.
    pub name: Option<String>,
    /// The package's version; written only if there is a name.
    pub version: Option<String>,
}

/// A miss list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MissListError {
    /// Some other file.
    #[error("line 1: a miss list starts with `{MISS_LIST_HEADER}`")]
    Header,
    /// A line that is none of the allowed.
    #[error("line {line}: {text} is not `PATH [NAME [VERSION]]`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The start of the line, quoted.
        text: String,
    },
}

impl MissList {
    /// Whether a text says that it is a miss list.
    pub fn is_miss_list(text: &str) -> bool {
        text.strip_prefix('\u{feff}').unwrap_or(text).starts_with(MISS_LIST_HEADER)
    }

    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, MissListError> {
        if !Self::is_miss_list(text) {
            return Err(MissListError::Header);
        }
        let lines = text.lines().enumerate().skip(1).map(|(index, line)| (index + 1, line.trim()));
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let entries = entries
            .map(|(number, line)| entry(line).ok_or_else(|| MissListError::Line { line: number, text: quoted(line) }));
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }
}

fn entry(line: &str) -> Option<MissListEntry> {
    let mut words = line.split_whitespace();
    let resource = words.next()?.parse().ok()?;
    let [name, version] = [words.next(), words.next()];
    let all_words = [name, version].into_iter().flatten().all(is_word);
    let owned = |word: Option<&str>| word.map(str::to_owned);
    (all_words && words.next().is_none()).then(|| MissListEntry {
        resource,
        name: owned(name),
        version: owned(version),
    })
}

impl fmt::Display for MissList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MISS_LIST_HEADER}")?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for MissListEntry {
    /// One line. A name or version that would not be read back as it is, is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        let words = [&self.name, &self.version].into_iter().map_while(|word| word.as_deref().filter(|w| is_word(w)));
        words.into_iter().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};
    use proptest::prelude::*;

    const PATH: &str = "/package/23338594-aafe-5451-b93e-139f81909106/4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn list(body: &str) -> Result<MissList, MissListError> {
        MissList::parse(&format!("{MISS_LIST_HEADER}\n{body}"))
    }

    #[test]
    fn people_may_edit_it() {
        let text = format!("\u{feff}# airlock misses, from host a\r\n\r\n# comment\r\n  {PATH}  Foo\t1.2.3 \r\n{PATH}");
        let entries = MissList::parse(&text).unwrap().entries;
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].name.as_deref(), entries[0].version.as_deref()), (Some("Foo"), Some("1.2.3")));
        assert_eq!(entries[1].to_string(), PATH);
    }

    #[test]
    fn hostile_lines_are_refused_by_number() {
        for bad in [
            "/artifact/../etc/passwd",
            "/artifact/4B825DC642CB6EB9A060E54BF8D69288FBEE4904",
            "http://h/artifact/4b825dc642cb6eb9a060e54bf8d69288fbee4904",
            "Foo 1.2.3",
            &format!("{PATH} Foo 1.2.3 more"),
            &format!("{PATH} Fo\u{7}o"),
            &format!("{PATH} {}", "x".repeat(201)),
        ] {
            let error = list(&format!("{PATH}\n{bad}\n")).unwrap_err();
            assert!(matches!(error, MissListError::Line { line: 3, .. }), "{bad}: {error}");
            assert!(!error.to_string().contains('\u{7}'), "{error}");
        }
        assert_eq!(MissList::parse(PATH), Err(MissListError::Header));
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let resource = Resource::Artifact { tree: TreeHash::EMPTY };
        for name in ["a\n/b", "a b", "", "a\u{2028}b", "\u{1b}[31m"] {
            let entry = MissListEntry { resource, name: Some(name.into()), version: Some("1.0.0".into()) };
            assert_eq!(entry.to_string(), resource.to_string(), "{name:?}");
        }
    }

    fn entries(word: &'static str) -> impl Strategy<Value = Vec<MissListEntry>> {
        let words = prop::option::of((word, prop::option::of(word)));
        let entry = (any::<[u8; 20]>(), any::<bool>(), words).prop_map(|(tree, package, words)| {
            let tree = TreeHash::from_bytes(tree);
            let artifact = Resource::Artifact { tree };
            let resource = if package { Resource::Package { uuid: GENERAL, tree } } else { artifact };
            let (name, version) = words.map_or((None, None), |(name, version)| (Some(name), version));
            MissListEntry { resource, name, version }
        });
        prop::collection::vec(entry, 0..5)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in entries(r"[A-Za-z0-9_.+#é-]{1,9}")) {
            let list = MissList { entries };
            prop_assert_eq!(MissList::parse(&list.to_string()), Ok(list));
        }

        #[test]
        fn no_name_changes_what_is_listed(entries in entries(r"(?s).{0,5}")) {
            let list = MissList { entries };
            let read = MissList::parse(&list.to_string()).unwrap();
            let resources = |list: &MissList| list.entries.iter().map(|entry| entry.resource).collect::<Vec<_>>();
            prop_assert_eq!(resources(&read), resources(&list));
            prop_assert_eq!(MissList::parse(&read.to_string()), Ok(read));
        }
    }
}
