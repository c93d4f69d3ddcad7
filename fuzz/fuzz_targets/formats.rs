//! Any text, as every text that comes from outside: manifests, artifacts, registries, lists,
//! paths, listings, versions, platforms. No panic, and what reads back must read back the same.
//! `cargo +nightly fuzz run formats`.
#![no_main]

use airlock::julia::{
    ArtifactsToml, FileKind, Manifest, MissList, PackageToml, Platform, RegistryIndex, RegistryToml, Version,
    VersionRange, parse_compat, parse_versions,
};
use airlock::protocol::{Listing, Resource};
use libfuzzer_sys::fuzz_target;

/// What was read and written must read back as it was.
fn round_trip<T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok().as_ref(), Some(&value), "{text:?}");
    }
}

fuzz_target!(|text: &str| {
    let _ = Manifest::parse(text);
    let _ = ArtifactsToml::parse(text);
    let _ = RegistryToml::parse(text);
    let _ = PackageToml::parse(text);
    let _ = parse_versions(text);
    let _ = FileKind::sniff(text);
    let _ = RegistryIndex::from_files([("Registry.toml", text), ("E/Example/Versions.toml", text)]);
    round_trip::<Resource>(text);
    round_trip::<Version>(text);
    round_trip::<VersionRange>(text);
    let _ = parse_compat(text);
    round_trip::<Platform>(text);
    if let Ok(listing) = Listing::parse(text) {
        assert_eq!(Listing::parse(&listing.to_string()), Ok(listing));
    }
    if let Ok(list) = MissList::parse(text) {
        assert_eq!(MissList::parse(&list.to_string()), Ok(list));
    }
});
