//! TOML with typed access and line numbers.
//!
//! serde would do for good files; for broken ones it loses the line as soon as a value is looked
//! at after parsing (a uuid, a hash). So the readers of this module walk the parser's own tree,
//! in which every value knows its place, and every string that leaves it is free of control
//! characters.

use super::error::{FormatError, Problem, line_at, quoted};
use crate::protocol::{TreeHash, Uuid};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Longer than any package name or version there is; a limit so that lists stay readable.
const LONGEST_WORD: usize = 200;

/// A parsed file.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

/// A table of a document.
#[derive(Clone, Copy)]
pub(super) struct Table<'d> {
    text: &'d str,
    keys: &'d DeTable<'d>,
    start: usize,
}

/// A value of a document, with its key.
#[derive(Clone, Copy)]
pub(super) struct Value<'d> {
    text: &'d str,
    key: &'d str,
    node: &'d Spanned<DeValue<'d>>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, FormatError> {
        let root = DeTable::parse(text).map_err(|error| FormatError::syntax(text, &error))?;
        Ok(Self { text, root })
    }

    pub(super) fn root(&self) -> Table<'_> {
        Table { text: self.text, keys: self.root.get_ref(), start: 0 }
    }
}

impl<'d> Table<'d> {
    pub(super) fn get(self, key: &str) -> Option<Value<'d>> {
        let (key, node) = self.keys.get_key_value(key)?;
        Some(Value { text: self.text, key: key.get_ref(), node })
    }

    /// The values in the order of their keys.
    pub(super) fn values(self) -> impl Iterator<Item = Value<'d>> {
        let text = self.text;
        self.keys.iter().map(move |(key, node)| Value { text, key: key.get_ref(), node })
    }

    pub(super) fn need(self, key: &'static str) -> Result<Value<'d>, FormatError> {
        self.get(key).ok_or_else(|| self.error(Problem::Missing(key)))
    }

    /// A string, if the key is there.
    pub(super) fn string(self, key: &str) -> Result<Option<String>, FormatError> {
        self.get(key).map(|value| value.str().map(str::to_owned)).transpose()
    }

    /// A tree hash, if the key is there.
    pub(super) fn tree(self, key: &str) -> Result<Option<TreeHash>, FormatError> {
        self.get(key).map(Value::tree).transpose()
    }

    /// A flag that is off when absent.
    pub(super) fn flag(self, key: &str) -> Result<bool, FormatError> {
        self.get(key).map_or(Ok(false), |value| value.node.get_ref().as_bool().ok_or_else(|| value.not("a boolean")))
    }

    fn error(self, problem: Problem) -> FormatError {
        FormatError { line: line_at(self.text, self.start), problem }
    }
}

impl<'d> Value<'d> {
    /// The key, which must be free of control characters.
    pub(super) fn key(self) -> Result<&'d str, FormatError> {
        self.printable(self.key)
    }

    /// The key as a package name, version or the like.
    pub(super) fn key_word(self) -> Result<&'d str, FormatError> {
        self.word_of(self.key)
    }

    /// The key as a uuid.
    pub(super) fn key_uuid(self) -> Result<Uuid, FormatError> {
        Uuid::from_any_case(self.key).map_err(|_| self.error(Problem::Uuid(quoted(self.key))))
    }

    pub(super) fn is_str(self) -> bool {
        self.node.get_ref().is_str()
    }

    pub(super) fn is_table(self) -> bool {
        self.node.get_ref().is_table()
    }

    pub(super) fn is_array(self) -> bool {
        self.node.get_ref().is_array()
    }

    pub(super) fn str(self) -> Result<&'d str, FormatError> {
        self.printable(self.node.get_ref().as_str().ok_or_else(|| self.not("a string"))?)
    }

    /// A string that can stand in a list of words: a package name, a version.
    pub(super) fn word(self) -> Result<&'d str, FormatError> {
        self.word_of(self.str()?)
    }

    pub(super) fn uuid(self) -> Result<Uuid, FormatError> {
        let text = self.str()?;
        Uuid::from_any_case(text).map_err(|_| self.error(Problem::Uuid(quoted(text))))
    }

    pub(super) fn tree(self) -> Result<TreeHash, FormatError> {
        let text = self.str()?;
        TreeHash::from_hex_any_case(text).map_err(|_| self.error(Problem::TreeHash(quoted(text))))
    }

    /// A size in bytes.
    pub(super) fn size(self) -> Result<u64, FormatError> {
        let integer = self.node.get_ref().as_integer();
        let size = integer.and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        size.ok_or_else(|| self.not("a size in bytes"))
    }

    pub(super) fn table(self) -> Result<Table<'d>, FormatError> {
        let keys = self.node.get_ref().as_table().ok_or_else(|| self.not("a table"))?;
        Ok(Table { text: self.text, keys, start: self.node.span().start })
    }

    /// The tables of an array of tables.
    pub(super) fn tables(self) -> Result<Vec<Table<'d>>, FormatError> {
        let array = self.node.get_ref().as_array().ok_or_else(|| self.not("an array of tables"))?;
        array.iter().map(|node| Value { node, ..self }.table()).collect()
    }

    /// The strings of an array, or the one string that stands in place of such an array.
    pub(super) fn strings(self) -> Result<Vec<&'d str>, FormatError> {
        match self.node.get_ref().as_array() {
            Some(array) => array.iter().map(|node| Value { node, ..self }.str()).collect(),
            None => Ok(vec![self.str()?]),
        }
    }

    /// The first element, if this is an array that has one.
    pub(super) fn first(self) -> Option<Self> {
        let node = self.node.get_ref().as_array()?.iter().next()?;
        Some(Self { node, ..self })
    }

    pub(super) fn error(self, problem: Problem) -> FormatError {
        FormatError { line: line_at(self.text, self.node.span().start), problem }
    }

    fn not(self, expected: &'static str) -> FormatError {
        self.error(Problem::Type { key: quoted(self.key), expected, found: self.node.get_ref().type_str() })
    }

    fn printable(self, text: &'d str) -> Result<&'d str, FormatError> {
        let forged = text.chars().any(char::is_control);
        if forged { Err(self.error(Problem::Control(quoted(text)))) } else { Ok(text) }
    }

    fn word_of(self, text: &'d str) -> Result<&'d str, FormatError> {
        if is_word(text) { Ok(text) } else { Err(self.error(Problem::Word(quoted(text)))) }
    }
}

/// Whether a text can stand in a line of words: not empty, not endless, without white space and
/// control characters.
pub(super) fn is_word(text: &str) -> bool {
    (1..=LONGEST_WORD).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
