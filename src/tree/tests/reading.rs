//! Files handed out of an archive.

use super::*;

#[test]
fn kept_files_are_those_of_the_final_tree() {
    let raw = Raw::new()
        .file("Z.toml", "z")
        .file("a/Artifacts.toml", "old")
        .file("gone/x.toml", "g")
        .file("b.toml", "b")
        .file("c.toml", "c")
        .file("a/Artifacts.toml", "new")
        .file("gone", "")
        .directory("b.toml")
        .symlink("c.toml", "Z.toml")
        .hard_link("hard.toml", "Z.toml")
        .file("other.txt", "o");
    let kept = hash(&raw.end()).unwrap().kept;
    let kept: Vec<_> = kept.iter().map(|file| (file.path.as_str(), file.contents.as_slice())).collect();
    assert_eq!(kept, [("Z.toml", &b"z"[..]), ("a/Artifacts.toml", b"new"), ("hard.toml", b"z")]);
}

#[test]
fn one_file_can_be_read() {
    let tarball = Raw::new().file("a", "1").directory("d").file("./a", "2").end();
    let read = |path| read_file(&tarball[..], &Limits::default(), path).unwrap();
    assert_eq!(read("a"), Some(b"2".to_vec()));
    assert_eq!(read("d"), None);
    assert_eq!(read("b"), None);
}

fn visited(raw: Raw) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
    let mut seen = Vec::new();
    visit_files(&raw.end()[..], &Limits::default(), &mut |path, contents| seen.push((path.to_owned(), contents)))?;
    Ok(seen)
}

#[test]
fn visits_every_file_once_or_fails() {
    let seen = visited(Raw::new().directory("d").file("./d/b", "1").symlink("s", "d").file("a", "2")).unwrap();
    assert_eq!(seen, [("d/b".to_owned(), b"1".to_vec()), ("a".to_owned(), b"2".to_vec())]);
    for twice in [
        Raw::new().file("a", "1").file("a", "2"),
        Raw::new().file("a/b", "1").symlink("a", "x"),
        Raw::new().file("a", "1").file("a/b", "2"),
        Raw::new().file("a", "1").directory("a"),
    ] {
        assert!(visited(twice).unwrap_err().to_string().contains("replaces"));
    }
    assert!(visited(Raw::new().file("a", "1").hard_link("b", "a")).is_err());
}
