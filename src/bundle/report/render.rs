//! The sheet as Markdown and as HTML. Everything that a template puts in is escaped by askama,
//! for Markdown by [`MarkdownEscaper`].

use super::{ArtifactLine, PackageLine, RegistryLine, ReportError, RepositoryLine, Sheet, VolumeLine};
use crate::bundle::Signature;
use askama::Template;
use bytesize::ByteSize;
use std::fmt;

/// Versions named in a cell.
const NAMED: usize = 6;

#[derive(Template)]
#[template(path = "bundle-report.html")]
struct Html<'a> {
    sheet: &'a Sheet,
}

#[derive(Template)]
#[template(path = "bundle-report.md")]
struct Markdown<'a> {
    sheet: &'a Sheet,
}

/// Escapes text for Markdown, also within a table. What means something only at the start of a line
/// is left as it is: nothing is put there.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkdownEscaper;

impl askama::filters::Escaper for MarkdownEscaper {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut before = ' ';
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            // Within a word, as in OpenSSL_jll, it is no emphasis.
            let within = before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
            match character {
                '_' if within => {}
                '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~' | '$' => dest.write_char('\\')?,
                _ => {}
            }
            dest.write_char(if character == '\n' || character == '\r' { ' ' } else { character })?;
            before = character;
        }
        Ok(())
    }
}

impl Sheet {
    /// As one Markdown document.
    pub fn markdown(&self) -> Result<String, ReportError> {
        Ok(Markdown { sheet: self }.render()? + "\n")
    }

    /// As one HTML file that needs no other.
    pub fn html(&self) -> Result<String, ReportError> {
        Ok(Html { sheet: self }.render()? + "\n")
    }

    fn created(&self) -> String {
        short(self.created)
    }

    fn repeats(&self) -> Option<String> {
        (!self.repeats.is_empty()).then(|| list(self.repeats.iter().map(u64::to_string)))
    }

    fn for_platforms(&self) -> String {
        list(self.platforms.iter().cloned())
    }

    fn size(&self) -> String {
        size(self.totals.bytes)
    }

    fn signed(&self) -> String {
        match self.signature {
            Signature::Trusted { key } => format!("good, by key {key}, which is trusted here"),
            Signature::Unchecked { key } => {
                format!("by key {key}, as it says; no key is trusted here, so nobody looked")
            }
            Signature::Unknown { key } => format!("REFUSED: by key {key}, as it says, which is not trusted here"),
            Signature::Unsigned => "none; no key is trusted here either".to_owned(),
            Signature::Missing => "REFUSED: none, and there must be one".to_owned(),
            Signature::Bad => "REFUSED: it is not a signature of these bytes".to_owned(),
        }
    }

    fn is_signed(&self) -> bool {
        !matches!(self.signature, Signature::Unsigned | Signature::Missing)
    }

    /// For `minisign -P`.
    fn key(&self) -> &str {
        self.public_key.as_deref().unwrap_or("PUBLIC_KEY")
    }

    /// The files as words of a shell; the index has made sure that they are plain names.
    fn files(&self) -> String {
        self.volumes.iter().map(|volume| volume.file.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn first_file(&self) -> &str {
        self.volumes.first().map_or("", |volume| &volume.file)
    }

    fn base(&self) -> Vec<String> {
        let base = &self.builds_on;
        let mut lines = Vec::new();
        lines.extend(base.since.map(|since| format!("everything that the origin had on {}", short(since))));
        lines.extend(base.request.map(|request| format!("what the request of {} said is there", short(request))));
        if !base.resources.is_empty() {
            lines.push(format!("{} resources that are needed and not in it", base.resources.len()));
        }
        if !base.repositories.is_empty() {
            lines.push(format!("{} git bundles that are needed and not in it", base.repositories.len()));
        }
        lines
    }
}

impl VolumeLine {
    fn state(&self) -> String {
        match (&self.problem, self.sha256) {
            (Some(problem), Some(sha256)) => format!("{sha256}; {problem}"),
            (Some(problem), None) => problem.clone(),
            (None, sha256) => sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
        }
    }

    fn bytes(&self) -> String {
        self.size.map(|size| size.to_string()).unwrap_or_default()
    }
}

impl RegistryLine {
    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uuid.to_string())
    }

    fn published(&self) -> String {
        self.published.map_or_else(|| "unknown".to_owned(), short)
    }

    fn age(&self) -> String {
        match self.age_hours {
            None => "unknown".to_owned(),
            Some(hours) if hours < 48 => format!("{} h", hours.max(0)),
            Some(hours) => format!("{} days", hours / 24),
        }
    }
}

impl PackageLine {
    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uuid.to_string())
    }

    fn version(&self) -> String {
        self.version.clone().unwrap_or_else(|| format!("tree {}", self.tree))
    }

    fn replaced(&self) -> String {
        match self.replaces.as_deref() {
            None => "unknown".to_owned(),
            Some([]) => "new".to_owned(),
            Some(versions) => {
                let named = list(versions.iter().take(NAMED).cloned());
                match versions.len().saturating_sub(NAMED) {
                    0 => named,
                    more => format!("{named} and {more} more"),
                }
            }
        }
    }

    fn licence(&self) -> String {
        let unread = || format!("not read: {}", self.unread.as_deref().unwrap_or("nobody knows why"));
        self.licence.as_ref().map_or_else(unread, ToString::to_string)
    }

    fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or("unknown")
    }

    /// The repository, if it may be a link.
    fn link(&self) -> Option<&str> {
        let is_web = |it: &&str| it.starts_with("https://") || it.starts_with("http://");
        self.repository.as_deref().filter(is_web)
    }

    fn size(&self) -> String {
        size(self.size)
    }
}

impl ArtifactLine {
    fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("unknown")
    }

    fn size(&self) -> String {
        size(self.size)
    }
}

impl RepositoryLine {
    fn address(&self) -> &str {
        self.url.as_deref().unwrap_or("unknown")
    }

    fn packages(&self) -> String {
        if self.packages.is_empty() { "unknown".to_owned() } else { list(self.packages.iter().cloned()) }
    }

    fn trees(&self) -> String {
        list(self.trees.iter().map(ToString::to_string))
    }

    fn size(&self) -> String {
        size(self.size)
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn short(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use askama::filters::Escaper as _;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        MarkdownEscaper.write_escaped_str(&mut out, text).unwrap();
        out
    }

    #[test]
    fn nothing_that_is_put_into_markdown_means_anything() {
        assert_eq!(escaped("OpenSSL_jll 1.2-rc1+3 (x)"), "OpenSSL_jll 1.2-rc1+3 (x)", "readable as it is");
        assert_eq!(escaped("|<script>"), r"\|\<script\>");
        assert_eq!(escaped("_a_ b_"), r"\_a\_ b\_");
        assert_eq!(
            escaped("[x](y) ![z] `c` *b* ~~s~~ &lt; $m$ \\"),
            r"\[x\](y) !\[z\] \`c\` \*b\* \~\~s\~\~ \&lt; \$m\$ \\"
        );
        assert_eq!(escaped("a\n# b\r"), "a # b ");
    }
}
