//! What wishes by name come to: versions of the packages, and of all that they depend on.
//!
//! No solver: of each package the newest version that suits whoever asks for it, and if another
//! asks for something else, that too. So what is taken is a superset in which Pkg, which solves
//! inside, nearly always finds its way; a manifest says it exactly.

use super::WantedPackage;
use crate::exchange::Wish;
use crate::julia::{
    RegisteredVersion, RegistryIndex, Requirement, Version, VersionRange, julia_ranges, requirements, stdlib,
};
use crate::mirror::LoadError;
use crate::protocol::{Resource, Uuid};
use crate::store::{Lookup, Store};
use crate::tree::{Limits, visit_files};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A registry with what its packages depend on.
#[derive(Debug)]
pub struct Catalogue {
    index: Arc<RegistryIndex>,
    /// By path.
    files: HashMap<String, String>,
}

/// What wishes come to.
#[derive(Debug, Default)]
pub struct Granted {
    /// The packages to bring.
    pub packages: BTreeMap<Resource, WantedPackage>,
    /// Wishes that come to nothing, and why.
    pub refused: Vec<(Wish, String)>,
}

impl Catalogue {
    /// Reads the dependencies of a registry from its verified tarball. Blocks.
    pub fn load(
        store: &Store,
        index: Arc<RegistryIndex>,
        registry: &Resource,
        limits: &Limits,
    ) -> Result<Self, LoadError> {
        let Lookup::Verified(open, _) = store.look_up(registry)? else { return Err(LoadError::Unverified) };
        let mut files = HashMap::new();
        visit_files(open.file, limits, &mut |path, bytes| {
            if path.ends_with("/Deps.toml") || path.ends_with("/Compat.toml") {
                files.extend(String::from_utf8(bytes).ok().map(|text| (path.to_owned(), text)));
            }
        })?;
        Ok(Self { index, files })
    }

    fn file(&self, package: Uuid, name: &str) -> &str {
        let path = self.index.path(package).map(|folder| format!("{folder}/{name}"));
        path.and_then(|path| self.files.get(&path)).map_or("", String::as_str)
    }

    /// The dependencies of a version; what cannot be read has none.
    fn requirements(&self, package: Uuid, version: &Version) -> Vec<Requirement> {
        let read = requirements(self.file(package, "Deps.toml"), self.file(package, "Compat.toml"), version);
        read.unwrap_or_else(|error| {
            tracing::warn!(%package, "its dependencies cannot be read: {error}");
            Vec::new()
        })
    }

    fn runs_on(&self, package: Uuid, version: &Version, julia: &Version) -> bool {
        let ranges = julia_ranges(self.file(package, "Compat.toml"), version).unwrap_or_default();
        ranges.is_empty() || ranges.iter().any(|range| range.contains(julia))
    }
}

/// What wishes come to, for each of these versions of Julia; without any, whatever Julia there is.
pub fn grant(wishes: &[Wish], julias: &[Version], catalogues: &[Catalogue]) -> Granted {
    let mut granted = Granted::default();
    let everywhere: Vec<_> = if julias.is_empty() { vec![None] } else { julias.iter().map(Some).collect() };
    for wish in wishes {
        match resolve_name(wish, catalogues) {
            Err(why) => granted.refused.push((wish.clone(), why)),
            Ok((uuid, ranges)) => {
                let (mut came, mut lacking) = (false, BTreeSet::new());
                for julia in &everywhere {
                    let mut grant = Grant {
                        catalogues,
                        julia: *julia,
                        asked: BTreeMap::new(),
                        chosen: BTreeMap::new(),
                        lacking: BTreeSet::new(),
                    };
                    came |= grant.all(Requirement { uuid, ranges: ranges.clone() });
                    lacking.append(&mut grant.lacking);
                    granted.packages.extend(grant.packages());
                }
                if !came {
                    let why = match wish.range {
                        Some(_) => "no version of it is in that range",
                        None => "each of its versions is yanked, a prerelease, or for another Julia",
                    };
                    granted.refused.push((wish.clone(), why.to_owned()));
                }
                // Without them no resolver takes what came.
                granted.refused.extend(lacking.into_iter().map(|dependency| {
                    (
                        wish.clone(),
                        format!("it comes, but no registry here has a version of {dependency} that it needs"),
                    )
                }));
            }
        }
    }
    granted
}

fn resolve_name(wish: &Wish, catalogues: &[Catalogue]) -> Result<(Uuid, Vec<VersionRange>), String> {
    let packages = catalogues.iter().flat_map(|catalogue| catalogue.index.packages());
    let uuids: BTreeSet<_> = packages.filter(|(_, name)| *name == wish.name).map(|(uuid, _)| uuid).collect();
    let uuid = match uuids.len() {
        0 => Err("no registry here has a package of this name".to_owned()),
        1 => uuids.first().copied().ok_or_else(String::new),
        _ => Err("registries here have several packages of this name; use a manifest".to_owned()),
    }?;
    let range = wish.range.as_deref().map(str::parse).transpose().map_err(|_| "not a range of versions".to_owned())?;
    Ok((uuid, range.into_iter().collect()))
}

/// One wish, for one Julia.
struct Grant<'g> {
    catalogues: &'g [Catalogue],
    julia: Option<&'g Version>,
    /// All that was asked of a package so far.
    asked: BTreeMap<Uuid, Vec<Requirement>>,
    chosen: BTreeMap<Uuid, BTreeMap<String, (Version, RegisteredVersion<'g>)>>,
    /// Dependencies of which there is no version, by name.
    lacking: BTreeSet<String>,
}

impl Grant<'_> {
    /// Follows the dependencies to their end. Returns whether there is any version of the first.
    fn all(&mut self, first: Requirement) -> bool {
        let root = first.uuid;
        let mut queue = vec![first];
        while let Some(wanted) = queue.pop() {
            let uuid = wanted.uuid;
            if uuid != root && self.is_shipped(uuid) {
                continue;
            }
            if let Some(version) = self.choose(&wanted) {
                let all = self.catalogues.iter().filter(|catalogue| catalogue.index.name(uuid).is_some());
                queue.extend(all.flat_map(|catalogue| catalogue.requirements(uuid, &version)));
            } else if uuid != root && !stdlib::is_stdlib(uuid) && !self.chosen.contains_key(&uuid) {
                let name = self.catalogues.iter().find_map(|catalogue| catalogue.index.name(uuid));
                self.lacking.insert(name.map_or_else(|| uuid.to_string(), str::to_owned));
            }
        }
        self.chosen.contains_key(&root)
    }

    /// Julia itself brings it: the client asks nobody for it.
    fn is_shipped(&self, uuid: Uuid) -> bool {
        let registered = || self.catalogues.iter().any(|catalogue| catalogue.index.name(uuid).is_some());
        match self.julia {
            Some(julia) => stdlib::shipped(uuid, julia) != stdlib::Shipped::No,
            None => stdlib::is_stdlib(uuid) && !registered(),
        }
    }

    /// Chooses one more version of a package, unless one that was chosen will do.
    fn choose(&mut self, wanted: &Requirement) -> Option<Version> {
        let uuid = wanted.uuid;
        let chosen = self.chosen.get(&uuid).into_iter().flat_map(BTreeMap::values);
        if chosen.into_iter().any(|(version, _)| wanted.accepts(version)) {
            return None;
        }
        let asked = self.asked.entry(uuid).or_default();
        asked.push(wanted.clone());
        let versions = self.catalogues.iter().flat_map(|catalogue| {
            let versions = catalogue.index.versions(uuid).filter(|version| !version.yanked);
            versions.filter_map(move |entry| Some((entry.version.parse::<Version>().ok()?, entry, catalogue)))
        });
        let mut suiting: Vec<_> = versions
            .filter(|(version, ..)| !version.is_prerelease() && wanted.accepts(version))
            .filter(|(version, _, catalogue)| self.julia.is_none_or(|julia| catalogue.runs_on(uuid, version, julia)))
            .collect();
        suiting.sort_by(|a, b| b.0.cmp(&a.0));
        let suits_all = |version: &Version| asked.iter().all(|asked| asked.accepts(version));
        let best = suiting.iter().position(|(version, ..)| suits_all(version)).unwrap_or(0);
        let (version, entry, _) = suiting.into_iter().nth(best)?;
        self.chosen.entry(uuid).or_default().insert(entry.version.to_owned(), (version.clone(), entry));
        Some(version)
    }

    fn packages(self) -> impl Iterator<Item = (Resource, WantedPackage)> {
        self.chosen.into_values().flat_map(BTreeMap::into_values).map(|(_, entry)| {
            let wanted = WantedPackage { name: Some(entry.name.to_owned()), version: Some(entry.version.to_owned()) };
            (Resource::Package { uuid: entry.uuid, tree: entry.tree }, wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "11111111-1111-1111-1111-111111111111";
    const LIB: &str = "22222222-2222-2222-2222-222222222222";
    const LONE: &str = "44444444-4444-4444-4444-444444444444";
    const GONE: &str = "55555555-5555-5555-5555-555555555555";
    const PULLED: &str = "66666666-6666-6666-6666-666666666666";
    const OLD: &str = "33333333-3333-3333-3333-333333333333";
    const DELIMITED_FILES: &str = "8bb1440f-4735-579b-a4ab-409b98df4dab";
    const DATES: &str = "ade2ca70-3891-5945-98fb-dc099432e06a";

    fn versions(versions: &[&str]) -> String {
        let line = |(index, version): (usize, &&str)| {
            let (version, yanked) =
                version.strip_suffix('!').map_or((*version, ""), |version| (version, "yanked = true\n"));
            format!("[\"{version}\"]\ngit-tree-sha1 = \"{:040x}\"\n{yanked}", index + 1)
        };
        versions.iter().enumerate().map(line).collect()
    }

    /// App 2 wants Lib 2, which is new; App 1 and Old want Lib 1.
    fn catalogue() -> Catalogue {
        let packages = [
            ("Lone", LONE),
            ("Pulled", PULLED),
            ("App", APP),
            ("Lib", LIB),
            ("Old", OLD),
            ("DelimitedFiles", DELIMITED_FILES),
        ];
        let listed = packages.map(|(name, uuid)| format!("{uuid}={{name='{name}',path='{name}'}}\n")).concat();
        let registry = format!("name='R'\nuuid='{APP}'\n[packages]\n{listed}");
        let index = RegistryIndex::from_files([
            ("Registry.toml".to_owned(), registry),
            ("App/Versions.toml".to_owned(), versions(&["1.0.0", "2.0.0", "2.1.0", "2.2.0!", "3.0.0-rc1"])),
            ("Lib/Versions.toml".to_owned(), versions(&["1.0.0", "1.5.0", "2.0.0"])),
            ("Old/Versions.toml".to_owned(), versions(&["1.0.0"])),
            ("Lone/Versions.toml".to_owned(), versions(&["1.0.0"])),
            ("Pulled/Versions.toml".to_owned(), versions(&["1.0.0!"])),
            ("DelimitedFiles/Versions.toml".to_owned(), versions(&["1.9.1"])),
        ]);
        let files = [
            ("Lone/Deps.toml", format!("[1]\nGone='{GONE}'")),
            (
                "App/Deps.toml",
                format!("[1-3]\nLib='{LIB}'\nOld='{OLD}'\nDates='{DATES}'\nDelimitedFiles='{DELIMITED_FILES}'"),
            ),
            ("App/Compat.toml", "[1]\nLib='1'\n[2-3]\nLib='2'\njulia='1.9-1'".to_owned()),
            ("Old/Deps.toml", format!("[1]\nLib='{LIB}'\nApp='{APP}'")),
            ("Old/Compat.toml", "[1]\nLib='1'".to_owned()),
        ];
        Catalogue {
            index: Arc::new(index.unwrap()),
            files: files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect(),
        }
    }

    /// What one wish comes to.
    fn granted(wish: &str, julia: &[&str]) -> Vec<String> {
        let julias: Vec<Version> = julia.iter().map(|julia| julia.parse().unwrap()).collect();
        let granted = grant(&[wish.parse().unwrap()], &julias, &[catalogue()]);
        let mut labels: Vec<_> = granted.packages.values().filter_map(WantedPackage::label).collect();
        labels.extend(granted.refused.into_iter().map(|(wish, why)| format!("{wish}: {why}")));
        labels.sort_unstable();
        labels
    }

    #[test]
    fn the_newest_and_all_that_it_needs() {
        let all = ["App 2.1.0", "DelimitedFiles 1.9.1", "Lib 1.5.0", "Lib 2.0.0", "Old 1.0.0"];
        assert_eq!(granted("App", &[]), all, "both who ask for Lib get theirs; a cycle ends");
        assert_eq!(granted("App@1", &[]), ["App 1.0.0", "DelimitedFiles 1.9.1", "Lib 1.5.0", "Old 1.0.0"]);
    }

    #[test]
    fn a_julia_decides_what_runs_on_it_and_what_it_brings() {
        assert_eq!(granted("App", &["1.8.5"]), ["App 1.0.0", "Lib 1.5.0", "Old 1.0.0"]);
        assert!(granted("App", &["1.8.5", "1.10.2"]).contains(&"DelimitedFiles 1.9.1".to_owned()));
        assert_eq!(granted("App@2", &["1.8.5"]), ["App@2: no version of it is in that range"]);
    }

    #[test]
    fn what_cannot_be_granted_is_said() {
        assert_eq!(granted("Nope", &[]), ["Nope: no registry here has a package of this name"]);
        assert_eq!(granted("App@7", &[]), ["App@7: no version of it is in that range"]);
        let pulled = "Pulled: each of its versions is yanked, a prerelease, or for another Julia";
        assert_eq!(granted("Pulled", &[]), [pulled]);
        let lone = format!("Lone: it comes, but no registry here has a version of {GONE} that it needs");
        assert_eq!(granted("Lone", &[]), ["Lone 1.0.0", &lone]);
    }
}
