//! Files that are no volumes, or no longer: each with its sentence, and none with a panic.

use super::Inside;
use super::pack::{Packing, header};
use airlock::bundle::VolumeFile;
use airlock::sample::Site;
use fs_err as fs;
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A volume that starts with this header.
fn starting_with(header: &tar::Header, good: &[u8]) -> Vec<u8> {
    [header.as_bytes(), good].concat()
}

fn link() -> tar::Header {
    let mut header = header("bundle.json", 0);
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_link_name("/etc/passwd").unwrap();
    header.set_cksum();
    header
}

fn of_type(kind: u8) -> tar::Header {
    let mut header = header("bundle.json", 512);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_cksum();
    header
}

fn of_size(field: &[u8; 12]) -> tar::Header {
    let mut header = header("bundle.json", 0);
    header.as_mut_bytes()[124..136].copy_from_slice(field);
    header.set_cksum();
    header
}

#[test]
fn what_is_no_volume_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let packing = Packing::of(&Site::sample().unwrap(), 1);
    let good = packing.volume(1);
    let mut sum = good.clone();
    sum[0] ^= 1;
    let mut json = good.clone();
    json[512] = b'[';
    let mut negative = [0xff; 12];
    negative[11] = 0;
    let mut huge = [0; 12];
    (huge[0], huge[4]) = (0x80, 0x7f);
    let unsorted = Packing::of(&Site::sample().unwrap(), 1);
    let mut order = unsorted.index.clone();
    order.resources.swap(0, 1);
    order.resources[1].volume = 9;
    let order = Packing { index: order, ..unsorted };
    for (name, bytes, says) in [
        ("empty", Vec::new(), "is empty"),
        ("short", b"hello".to_vec(), "not a tar archive"),
        ("gzip", gzip(&good), "compressed with gzip"),
        ("text", vec![b'x'; 2000], "not a tar archive"),
        ("zeros", vec![0; 2000], "the archive ends too early"),
        ("sum", sum, "wrong checksum"),
        ("json", json, "not an index of a bundle"),
        ("cut", good[..600].to_vec(), "cut short"),
        ("head", good[..512].to_vec(), "cut short"),
        ("other", starting_with(&header("x", 0), &good), "bundle.json is not where it should be"),
        ("link", starting_with(&link(), &good), "bundle.json is not a file"),
        ("pax", starting_with(&of_type(b'x'), &good), "bundle.json is not a file"),
        ("long", starting_with(&of_type(b'L'), &good), "bundle.json is not a file"),
        ("negative", starting_with(&of_size(&negative), &good), "size negative"),
        ("huge", starting_with(&of_size(&huge), &good), "bundle.json is not a file of at most"),
        ("beyond", starting_with(&header("bundle.json", 1 << 20), &[0; 512]), "cut short"),
        ("order", order.volume(1), "not in the order"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = VolumeFile::open(&path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(name), "{name}: {error}");
    }
    let error = VolumeFile::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is not a file"), "{error}");
    assert!(VolumeFile::open(&folder.path().join("absent")).is_err());
}

#[test]
fn a_volume_that_was_cut_or_grew_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let packing = Packing::of(&Site::sample().unwrap(), 1);
    let good = packing.volume(1);
    let last = packing.index.resources.last().unwrap();
    let open = |bytes: &[u8]| {
        let path = folder.path().join("volume");
        fs::write(&path, bytes).unwrap();
        let volume = VolumeFile::open(&path).unwrap();
        let layout = volume.layout();
        (layout.offsets().flatten().count(), layout.oddity)
    };
    let all = packing.index.resources.len();
    assert_eq!(open(&good), (all, None));
    assert_eq!(open(&[&good[..], &[0; 9000]].concat()), (all, None));
    assert_eq!(open(&[&good[..], b"x"].concat()), (all, Some("there is something after its end")));
    assert_eq!(open(&good[..good.len() - 1024]), (all, Some("it is cut short")));
    let cut = packing.offset(&last.resource) + 1;
    assert_eq!(open(&good[..cut]), (all - 1, Some("it is cut short")));
    // Another entry in between is in nobody's place.
    let at = packing.offset(&packing.index.resources[0].resource) - 512;
    let extra = [&good[..at], header("extra", 0).as_bytes(), &good[at..]].concat();
    assert_eq!(open(&extra).0, 0);
}

#[test]
fn an_index_that_is_swapped_between_reading_and_verifying_is_refused() {
    let (folder, site) = (tempfile::tempdir().unwrap(), Site::sample().unwrap());
    let (mut packing, path) = (Packing::of(&site, 1), folder.path().join("b.tar"));
    fs::write(&path, packing.volume(1)).unwrap();
    let volume = VolumeFile::open(&path).unwrap();
    assert_eq!(volume.index_bytes().unwrap(), packing.index.to_json());
    packing.index.sequence = 2;
    fs::write(&path, packing.volume(1)).unwrap();
    let error = volume.index_bytes().unwrap_err().to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

#[test]
fn a_volume_is_known_though_its_first_header_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let packing = Packing::of(&Site::sample().unwrap(), 3);
    for number in 1..=3 {
        let mut bytes = packing.volume(number);
        let first = packing.index.resources.iter().find(|entry| entry.volume == number).unwrap();
        bytes[packing.offset(&first.resource) - 500] ^= 1;
        let path = folder.path().join("volume");
        fs::write(&path, bytes).unwrap();
        let volume = VolumeFile::open(&path).unwrap();
        assert_eq!(volume.number(), number);
        assert_eq!(volume.layout().offsets().filter(Option::is_none).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_belong_together_are_wrong_usage_and_named() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let packing = Packing::of(&site, 2);
    let files = packing.write(inside.path());
    let copy = inside.path().join("copy.tar");
    fs::copy(&files[0], &copy).unwrap();
    let twice = inside.import(&[files[0].clone(), copy], &[]).await;
    assert_eq!(twice.code, Some(2));
    assert!(twice.said.contains("copy.tar are both volume 1"), "{}", twice.said);
    assert_eq!(inside.import(&[files[0].clone(), files[0].clone(), files[1].clone()], &[]).await.code, Some(0));

    let mut other = Packing::of(&site, 2);
    other.index.sequence = 9;
    let forged = inside.path().join("forged.tar");
    fs::write(&forged, other.volume(2)).unwrap();
    let differ = inside.import(&[files[0].clone(), forged], &[]).await;
    assert_eq!(differ.code, Some(2));
    assert!(differ.said.contains("their bundle.json differ"), "{}", differ.said);

    let junk = inside.path().join("junk");
    fs::write(&junk, "junk").unwrap();
    let came = inside.import(&[files[0].clone(), junk], &[]).await;
    assert_eq!(came.code, Some(2));
    assert!(came.said.contains("junk is no volume of a bundle"), "{}", came.said);
}
