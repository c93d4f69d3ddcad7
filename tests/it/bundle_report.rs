//! `airlock bundle report`: the sheet says what is in the files, whatever their author wrote there.

use crate::binary::{run, said, stdout};
use airlock::exchange::Sha256;
use airlock::tree::{TarEntry, write_tar_gz};
use fs_err as fs;
use serde_json::{Value, json};
use sha2::Digest as _;
use std::path::Path;

const UNLICENSE: &str = include_str!("../../src/bundle/licence/texts/Unlicense.txt");
const UUID: &str = "7876af07-990d-54b4-ab0e-23690620f79a";
const HOSTILE: &str = "|<script>alert(1)</script>\n# x\u{1b}[31m\u{202e}";

/// A package's tarball with these files, and its entry in the index.
fn package(name: &str, version: &str, volume: u32, replaces: &Value, files: &[(&str, &str)]) -> (Vec<u8>, Value) {
    let mut tarball = Vec::new();
    let named = [TarEntry::file("src/X.jl", format!("# {name} {version}"), false)];
    let entries = files.iter().map(|&(path, text)| TarEntry::file(path, text, false)).chain(named);
    let tree = write_tar_gz(entries, &mut tarball, 6).unwrap();
    let entry = json!({
        "resource": format!("/package/{UUID}/{tree}"), "size": tarball.len(), "sha256": sum(&tarball), "volume": volume,
        "name": name, "version": version, "repository": format!("https://example.org/{name}.git"), "replaces": replaces,
    });
    (tarball, entry)
}

fn sum(bytes: &[u8]) -> String {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into()).to_string()
}

/// Writes a bundle as plain tars, `b.1.tar` and so on.
fn bundle(folder: &Path, volumes: u32, packages: &[(Vec<u8>, Value)]) {
    let sbom = b"{}\n";
    let of = |volume: u32| packages.iter().filter(move |(_, entry)| entry["volume"] == volume);
    let described: Vec<_> = (1..=volumes)
        .map(|volume| {
            let bytes: usize = of(volume).map(|(tarball, _)| tarball.len()).sum();
            json!({ "file": format!("b.{volume}.tar"), "resources": of(volume).count(), "bytes": bytes })
        })
        .collect();
    let index = json!({
        "airlock_bundle": 1, "id": "00000000-0000-4000-8000-000000000001", "created": "2026-01-02T03:04:05Z",
        "origin": "00000000-0000-4000-8000-000000000002", "destination": "plant-7", "sequence": 3, "repeats": [2],
        "builds_on": { "since": null, "request": null, "resources": [] }, "platforms": ["x86_64-linux-gnu"],
        "registries": [], "resources": packages.iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
        "volumes": described,
        "uncarried": [{ "what": HOSTILE, "kind": "git", "why": "clients clone it" }],
        "sbom_sha256": sum(sbom),
    });
    let line = |(_, entry): &(Vec<u8>, Value)| {
        let text = |key: &str| entry[key].as_str().unwrap();
        format!("{}  {}\n", text("sha256"), text("resource").trim_start_matches('/'))
    };
    let sums = format!("{}  sbom.cdx.json\n", sum(sbom)) + &packages.iter().map(line).collect::<String>();
    for volume in 1..=volumes {
        let mut tar = tar::Builder::new(fs::File::create(folder.join(format!("b.{volume}.tar"))).unwrap());
        let mut put = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes).unwrap();
        };
        put("bundle.json", &serde_json::to_vec(&index).unwrap());
        put("SHA256SUMS", sums.as_bytes());
        put("sbom.cdx.json", sbom);
        for (tarball, entry) in of(volume) {
            put(entry["resource"].as_str().unwrap().trim_start_matches('/'), tarball);
        }
        tar.into_inner().unwrap();
    }
}

fn two_volumes(folder: &Path) {
    let own = format!("My own terms {HOSTILE}");
    bundle(
        folder,
        2,
        &[
            package("Beta", "1.10.0", 1, &json!(["1.9.0", "1.2.0"]), &[("LICENSE", UNLICENSE)]),
            package("Beta", "1.9.1", 1, &json!([]), &[]),
            package(HOSTILE, "0.1.0", 2, &Value::Null, &[("LICENSE.md", &own)]),
            package("Alpha", "2.0.0", 2, &json!([]), &[("COPYING", &format!("{UNLICENSE}\nNot on Sundays."))]),
        ],
    );
}

async fn sheet(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, &[&["bundle", "report"], arguments].concat()).await;
    assert_eq!(said(&output).0, Some(code), "{}", said(&output).1);
    stdout(&output)
}

/// The rows of the table below a heading, without its own heading.
fn rows<'t>(markdown: &'t str, heading: &str) -> Vec<&'t str> {
    let below = markdown.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let lines = below.split("\n## ").next().unwrap().lines();
    lines.filter(|line| line.starts_with('|')).skip(2).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sheet_names_everything_and_is_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    two_volumes(folder.path());
    let text = sheet(folder.path(), &["b.2.tar", "b.1.tar"], 0).await;
    assert_eq!(text, sheet(folder.path(), &["b.1.tar", "b.2.tar", "--jobs", "1"], 0).await);
    let packages = rows(&text, "Packages");
    let starts = [
        r"| Alpha | 2.0.0 | new | Unlicense, with other text in COPYING: “Not on Sundays.” | ",
        "| Beta | 1.9.1 | new | none found | https://example.org/Beta.git | ",
        "| Beta | 1.10.0 | 1.9.0, 1.2.0 | Unlicense | https://example.org/Beta.git | ",
        r"| \|\<script\>alert(1)\</script\>",
    ];
    assert_eq!(packages.len(), starts.len(), "{text}");
    for (row, start) in packages.iter().zip(starts) {
        assert!(row.starts_with(start), "{row}\n{start}");
    }
    let files = rows(&text, "Files");
    for number in [1, 2] {
        let bytes = fs::read(folder.path().join(format!("b.{number}.tar"))).unwrap();
        let row = format!("| {number} | b.{number}.tar | {} | {} |", bytes.len(), sum(&bytes));
        assert_eq!(files[number - 1], row);
    }
    for part in ["# Bundle 3 for plant-7\n", "| Has again all of | 2 |", "sha256sum b.1.tar b.2.tar\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bundle_says_cannot_write_the_sheet() {
    let folder = tempfile::tempdir().unwrap();
    two_volumes(folder.path());
    let markdown =
        sheet(folder.path(), &["b.1.tar", "b.2.tar", "--html", "sheet.html", "--markdown", "sheet.md"], 0).await;
    assert_eq!(markdown, "", "it is in the files");
    let markdown = fs::read_to_string(folder.path().join("sheet.md")).unwrap();
    let html = fs::read_to_string(folder.path().join("sheet.html")).unwrap();
    for text in [&markdown, &html] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && !text.contains("\n# x"), "{text}");
    }
    for heading in ["Packages", "What could not be carried"] {
        let columns = if heading == "Packages" { 6 } else { 3 };
        for row in rows(&markdown, heading) {
            assert_eq!(row.replace(r"\|", "").matches('|').count(), columns + 1, "{row}");
        }
    }
    assert!(!html.contains("<script") && html.contains("&#60;script&#62;"), "{html}");
    assert!(html.contains(r#"<a href="https://example.org/Beta.git" rel="noreferrer">"#));
    assert!(!html.contains("src=") && !html.contains("<link"), "one file, nothing to load");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_damaged_volume_is_on_the_sheet() {
    let folder = tempfile::tempdir().unwrap();
    two_volumes(folder.path());
    let text = sheet(folder.path(), &["b.1.tar"], 1).await;
    assert!(rows(&text, "Files")[1].contains("missing"), "{text}");
    assert!(rows(&text, "Packages")[0].contains("| not read: volume 2 is missing |"), "{text}");
    let document: Value = serde_json::from_str(&sheet(folder.path(), &["b.1.tar", "--json"], 1).await).unwrap();
    assert_eq!(document["packages"][0]["unread"], "volume 2 is missing");
    assert_eq!(document["packages"][0]["licence"], Value::Null);
    assert_eq!(document["packages"][2]["licence"]["files"][0]["ids"], json!(["Unlicense"]));
    assert_eq!(document["volumes"][1]["sha256"], Value::Null);
    assert_eq!(document["signature"]["status"], "unsigned");

    let path = folder.path().join("b.2.tar");
    let mut bytes = fs::read(&path).unwrap();
    let gzip = bytes.windows(2).rposition(|pair| pair == [0x1f, 0x8b]).unwrap();
    bytes[gzip + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let text = sheet(folder.path(), &["b.1.tar", "b.2.tar"], 1).await;
    assert!(rows(&text, "Packages")[0].contains("damaged: its SHA-256"), "{text}");
    assert!(!rows(&text, "Packages")[3].contains("damaged"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_an_import_refuses_is_not_complete() {
    let folder = tempfile::tempdir().unwrap();
    two_volumes(folder.path());
    let made = run(folder.path(), &["bundle", "keygen", "--no-password", "k"]).await;
    assert_eq!(said(&made).0, Some(0), "{}", said(&made).1);
    fs::write(folder.path().join("airlock.toml"), "[bundle]\ntrusted-keys = [\"k.pub\"]\n").unwrap();
    let text = sheet(folder.path(), &["b.1.tar", "b.2.tar"], 1).await;
    assert!(text.contains("| Signature | REFUSED: none, and there must be one |"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bundle_is_2_and_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("picture"), "\u{89}PNG").unwrap();
    for (file, word) in [("none.tar", "none.tar is not there"), ("picture", "is no volume of a bundle")] {
        let (code, text) = said(&run(folder.path(), &["bundle", "report", file]).await);
        assert!(code == Some(2) && text.contains(word) && text.lines().count() == 1, "{text}");
    }
}
