//! What fuzzing found, and where it began, runs with every test: each file of `fuzz/corpus/`
//! through the target of its folder.

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;

use std::path::Path;

#[test]
fn every_file_of_the_corpora_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut failed = Vec::new();
    for (name, body) in bodies::ALL {
        let mut files: Vec<_> =
            fs_err::read_dir(corpora.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            let bytes = fs_err::read(&file).unwrap();
            if std::panic::catch_unwind(|| body(&bytes)).is_err() {
                failed.push(file);
            }
        }
    }
    assert_eq!(failed, [""; 0].map(std::path::PathBuf::from));
}
