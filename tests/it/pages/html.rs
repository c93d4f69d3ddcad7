//! A strict reader of HTML, for pages that are written by templates: what a browser would mend
//! silently is an error here.

use std::collections::BTreeSet;

/// Elements without an end tag.
const VOID: &[&str] = &["meta", "link", "input", "br"];
/// Elements that end a paragraph which they begin in.
const BLOCKS: &[&str] = &["p", "ul", "dl", "div", "table", "form", "pre", "h1", "h2", "h3", "nav", "section"];
const ENTITIES: &[&str] = &["&lt;", "&gt;", "&amp;", "&quot;", "&#39;"];

/// A page that is well-formed and whose parts refer to each other as they should.
pub(crate) struct Html {
    /// What can be read, with single blanks.
    pub(crate) text: String,
    tags: Vec<Tag>,
}

#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Html {
    /// Reads a page.
    pub(crate) fn parse(page: &str) -> Self {
        let mut rest = page.strip_prefix("<!doctype html>\n").unwrap();
        let (mut text, mut tags, mut open) = (String::new(), Vec::new(), Vec::<String>::new());
        while let Some(at) = rest.find('<') {
            text.push_str(&plain(&rest[..at]));
            let end = at + rest[at..].find('>').unwrap_or_else(|| panic!("no end: {}", &rest[at..]));
            let inner = &rest[at + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = inner.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "{open:?} before {rest}");
                text.push(' ');
                continue;
            }
            let tag = tag(inner);
            if BLOCKS.contains(&tag.name.as_str()) {
                assert!(!open.iter().any(|open| open == "p"), "a paragraph ends at {tag:?}");
                text.push(' ');
            }
            if tag.name == "style" {
                rest = &rest[rest.find("</style>").unwrap()..];
            }
            if !VOID.contains(&tag.name.as_str()) {
                open.push(tag.name.clone());
            }
            tags.push(tag);
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let html = Self { text, tags };
        html.check();
        html
    }

    /// The values of an attribute, of all elements of a name.
    pub(crate) fn all(&self, name: &str, attribute: &str) -> Vec<String> {
        let named = self.tags.iter().filter(|tag| tag.name == name);
        named.filter_map(|tag| tag.get(attribute)).map(unescaped).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.tags.iter().filter(|tag| tag.name == name).count()
    }

    fn check(&self) {
        let mut ids = BTreeSet::new();
        for id in self.tags.iter().filter_map(|tag| tag.get("id")) {
            assert!(ids.insert(id), "the id {id} is there twice");
        }
        for (name, count) in [("html", 1), ("title", 1), ("h1", 1), ("main", 1), ("header", 1), ("footer", 1)] {
            assert_eq!(self.count(name), count, "{name}");
        }
        for gone in ["script", "iframe", "img", "object", "embed", "base", "svg"] {
            assert_eq!(self.count(gone), 0, "{gone}");
        }
        let levels: Vec<_> =
            self.tags.iter().filter_map(|tag| tag.name.strip_prefix('h')?.parse::<u32>().ok()).collect();
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        assert_eq!(self.count("table"), self.count("caption"));
        for tag in &self.tags {
            assert!(!tag.attributes.iter().any(|(name, _)| name.starts_with("on") || name == "style"), "{tag:?}");
            match tag.name.as_str() {
                "th" => assert!(matches!(tag.get("scope"), Some("col" | "row")), "{tag:?}"),
                "label" => assert!(ids.contains(tag.get("for").unwrap()), "{tag:?}"),
                "input" => {
                    let id = tag.get("id").unwrap();
                    let labels = self.tags.iter().filter(|tag| tag.name == "label" && tag.get("for") == Some(id));
                    assert_eq!(labels.count(), 1, "{tag:?}");
                }
                "a" => {
                    let inside = tag.get("href").unwrap().strip_prefix('#');
                    assert!(inside.is_none_or(|id| ids.contains(id)), "{tag:?}");
                }
                "html" => assert_eq!(tag.get("lang"), Some("en")),
                _ => {}
            }
        }
    }
}

fn tag(inner: &str) -> Tag {
    let (name, mut rest) = inner.split_once(' ').unwrap_or((inner, ""));
    assert!(
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "<{inner}>"
    );
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "<{inner}>");
        let (value, after) = match after.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').unwrap_or_else(|| panic!("<{inner}>")),
            None => ("", after),
        };
        plain(value);
        assert!(attributes.iter().all(|(known, _)| known != name), "twice {name}: <{inner}>");
        attributes.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(' ').unwrap_or_else(|| {
            assert!(after.is_empty(), "<{inner}>");
            after
        });
    }
    Tag { name: name.to_owned(), attributes }
}

/// Text in which nothing is left that is not text.
fn plain(text: &str) -> String {
    for (at, _) in text.match_indices('&') {
        assert!(ENTITIES.iter().any(|entity| text[at..].starts_with(entity)), "{text}");
    }
    assert!(!text.contains(['<', '>']), "{text}");
    assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "{text:?}");
    unescaped(text)
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[test]
fn what_a_browser_would_mend_is_an_error() {
    let page = |body: &str| {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><title>t</title></head><body><header></header><main><h1>h</h1>{body}</main><footer></footer></body></html>"
        )
    };
    let read = Html::parse(&page("<p id=\"a\">1 &lt; 2<br><a href=\"x?y&amp;z\">l</a></p>"));
    assert_eq!((read.text.as_str(), read.all("a", "href")), ("t h 1 < 2l", vec!["x?y&z".to_owned()]));
    for body in [
        "<p>",
        "<p><b></p></b>",
        "<p><ul></ul></p>",
        "a & b",
        "a > b",
        "<a href=x>l</a>",
        "<a href=\"#nowhere\">l</a>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
        "<p class=\"a\" class=\"b\"></p>",
        "<h3>x</h3>",
        "<h1>x</h1>",
        "<script></script>",
        "<input id=\"i\">",
        "<table></table>",
        "<p onclick=\"x\"></p>",
        "\u{0}",
    ] {
        assert!(std::panic::catch_unwind(|| Html::parse(&page(body))).is_err(), "{body}");
    }
}
