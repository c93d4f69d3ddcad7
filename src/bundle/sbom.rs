//! The list of what is in a bundle, as `CycloneDX` 1.6 in JSON: what scanners and auditors read.

use super::hash::Hashed;
use crate::exchange::{Entry, RepositoryEntry};
use crate::protocol::{Kind, Resource, Uuid};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The file `sbom.cdx.json`: the same bytes for the same bundle.
pub(super) fn sbom(
    id: Uuid,
    created: jiff::Timestamp,
    what: &str,
    (entries, repositories): (&[Entry], &[RepositoryEntry]),
    hashed: &[Hashed],
) -> Vec<u8> {
    let bundle = format!("bundle-{id}");
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{id}"),
        "version": 1,
        "metadata": {
            "timestamp": created.to_string(),
            "tools": { "components": [{
                "type": "application", "name": "airlock", "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": { "type": "file", "bom-ref": bundle, "name": what },
        },
        "components": entries.iter().map(component).chain(repositories.iter().map(repository)).collect::<Vec<_>>(),
        "dependencies": dependencies(entries, hashed),
    });
    let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn component(entry: &Entry) -> Value {
    let kind = match entry.resource.kind() {
        Kind::Registry => "data",
        Kind::Package => "library",
        Kind::Artifact => "file",
    };
    let name = entry.name.clone().unwrap_or_else(|| entry.resource.to_string());
    let mut component = json!({
        "type": kind,
        "bom-ref": entry.resource.to_string(),
        "name": name,
        "hashes": [{ "alg": "SHA-256", "content": entry.sha256.to_string() }],
    });
    let Some(fields) = component.as_object_mut() else { return component };
    fields.extend(entry.version.iter().map(|version| ("version".to_owned(), json!(version))));
    fields.extend(purl(entry).map(|purl| ("purl".to_owned(), json!(purl))));
    let repository = entry.repository.iter().filter(|url| is_url(url));
    fields.extend(repository.map(|url| ("externalReferences".to_owned(), json!([{ "type": "vcs", "url": url }]))));
    component
}

/// A git bundle: all of a repository, so no version of it.
fn repository(entry: &RepositoryEntry) -> Value {
    let mut component = json!({
        "type": "file",
        "bom-ref": entry.file,
        "name": entry.file,
        "hashes": [{ "alg": "SHA-256", "content": entry.sha256.to_string() }],
    });
    let Some(fields) = component.as_object_mut() else { return component };
    if !entry.packages.is_empty() {
        let packages: Vec<_> = entry.packages.iter().map(String::as_str).collect();
        let description = format!("git bundle of the repository of {}", packages.join(", "));
        fields.insert("description".to_owned(), json!(description));
    }
    let url = entry.url.iter().filter(|url| is_url(url));
    fields.extend(url.map(|url| ("externalReferences".to_owned(), json!([{ "type": "vcs", "url": url }]))));
    component
}

/// `pkg:julia/Example@1.2.3?uuid=…`, as the list of package URL types has it.
fn purl(entry: &Entry) -> Option<String> {
    let Resource::Package { uuid, .. } = entry.resource else { return None };
    let mut purl = format!("pkg:julia/{}", percent_encoded(entry.name.as_deref()?));
    if let Some(version) = &entry.version {
        let _ = write!(purl, "@{}", percent_encoded(version));
    }
    let _ = write!(purl, "?uuid={uuid}");
    Some(purl)
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Readers check addresses; `git@host:path` is none to them.
fn is_url(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    text.contains("://") && text.bytes().all(good)
}

/// Which package needs which artifact, of those in the bundle. What packages need of each other is
/// not known without their manifests.
fn dependencies(entries: &[Entry], hashed: &[Hashed]) -> Vec<Value> {
    let packed: BTreeSet<_> = entries.iter().map(|entry| entry.resource).collect();
    let named: BTreeMap<_, BTreeSet<_>> = hashed
        .iter()
        .map(|it| {
            let artifacts = it.artifacts.iter().map(|artifact| Resource::Artifact { tree: artifact.tree });
            (it.resource, artifacts.filter(|artifact| packed.contains(artifact)).collect())
        })
        .collect();
    let needs = named.iter().filter(|(_, artifacts)| !artifacts.is_empty());
    needs.map(|(package, artifacts)| json!({ "ref": package, "dependsOn": artifacts })).collect()
}
