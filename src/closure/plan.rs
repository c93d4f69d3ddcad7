//! What the inputs want: registries, packages, artifacts, each once, and what no package server
//! can give. Pure.

use super::{
    Content, Input, Resolved, Unmirrorable, UnmirrorableKind, WantedArtifact, WantedPackage, WantedRepository,
};
use crate::config;
use crate::julia::{Manifest, ManifestEntry, Origin, ParsePlatformError, Platforms, RegistryIndex, stdlib};
use crate::mirror::hold;
use crate::protocol::{Kind, Resource, TreeHash, Uuid};
use crate::store::HeldArtifact;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which artifacts of a package are wanted. By platform only the four tags count that a
/// [`Platform`](crate::julia::Platform) has; selection by any other is code of the package, so all of those are taken.
#[derive(Clone, Debug)]
pub struct Selection {
    /// For these platforms.
    pub platforms: Platforms,
    /// Lazy ones too.
    pub lazy: bool,
}

/// Everything that is wanted.
#[derive(Debug)]
pub struct Plan {
    selection: Selection,
    registered: Registered,
    /// Registries that a list of misses or a request names; those that upstream lists are no part of a plan.
    pub registries: BTreeSet<Resource>,
    /// Packages.
    pub packages: BTreeMap<Resource, WantedPackage>,
    /// Artifacts, so far: more when packages are opened.
    pub artifacts: BTreeMap<Resource, WantedArtifact>,
    /// What no package server can give.
    pub unmirrorable: BTreeSet<Unmirrorable>,
    /// The git repositories that some of that is in, by address without credentials.
    pub repositories: BTreeMap<String, WantedRepository>,
    /// Packages that some Julia ships.
    pub standard_libraries: BTreeSet<Uuid>,
    /// Packages in folders of the machine that wrote the manifest.
    pub local_paths: BTreeSet<Uuid>,
}

/// The registries that are here, to look packages up in.
#[derive(Debug, Default)]
struct Registered(Vec<Arc<RegistryIndex>>);

impl Registered {
    fn tree(&self, uuid: Uuid, version: &str) -> Option<TreeHash> {
        self.0.iter().find_map(|registry| registry.lookup(uuid, version))
    }

    fn name(&self, uuid: Uuid) -> Option<String> {
        self.0.iter().find_map(|registry| registry.name(uuid)).map(str::to_owned)
    }

    fn version(&self, uuid: Uuid, tree: TreeHash) -> Option<String> {
        let version = self.0.iter().find_map(|registry| registry.version_at(uuid, tree));
        version.map(|version| version.version.to_owned())
    }
}

impl Plan {
    /// What these inputs want; what is broken among them wants nothing.
    pub fn new(selection: Selection, inputs: &[Input], registries: Vec<Arc<RegistryIndex>>) -> Self {
        let mut plan = Self {
            selection,
            registered: Registered(registries),
            registries: BTreeSet::new(),
            packages: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            unmirrorable: BTreeSet::new(),
            repositories: BTreeMap::new(),
            standard_libraries: BTreeSet::new(),
            local_paths: BTreeSet::new(),
        };
        for content in inputs.iter().filter_map(|input| input.content.as_ref().ok()) {
            match content {
                Content::Manifest(manifest) => plan.add_manifest(manifest),
                Content::Artifacts(artifacts, _) => {
                    for artifact in artifacts {
                        plan.add_artifact(&hold(artifact.clone()), None);
                    }
                }
                Content::Misses(misses) => {
                    for miss in &misses.entries {
                        plan.add_miss(miss.resource, miss.name.as_deref(), miss.version.as_deref());
                    }
                }
                Content::Request(request) => {
                    for miss in &request.misses {
                        plan.add_miss(miss.resource, miss.name.as_deref(), miss.version.as_deref());
                    }
                    request.damaged.iter().for_each(|damaged| plan.add_miss(damaged.resource, None, None));
                }
                Content::Resolved(resolved) => plan.add_resolved(resolved),
                Content::Versions(versions) => {
                    for (resource, package) in &versions.packages {
                        if let Some(uuid) = resource.uuid() {
                            plan.want_package(uuid, resource.tree(), package.clone());
                        }
                    }
                }
                Content::Project(_) => {}
            }
        }
        plan
    }

    /// All resources, in the order in which they are to be fetched.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        self.registries.iter().chain(self.packages.keys()).chain(self.artifacts.keys()).copied()
    }

    /// How many resources are wanted by now.
    pub fn count(&self) -> usize {
        self.registries.len() + self.packages.len() + self.artifacts.len()
    }

    /// Adds the artifacts that a package names, and returns those that nobody named before.
    pub fn open(&mut self, package: &Resource, held: &[HeldArtifact]) -> Vec<Resource> {
        let owner = self.packages.get(package).and_then(|package| package.name.clone());
        let owner = owner.or_else(|| package.uuid().map(|uuid| uuid.to_string()));
        held.iter().filter_map(|artifact| self.add_artifact(artifact, owner.as_deref())).collect()
    }

    /// A resource for people.
    pub fn label(&self, resource: &Resource) -> String {
        let named = match resource.kind() {
            Kind::Registry => None,
            Kind::Package => self.packages.get(resource).and_then(WantedPackage::label),
            Kind::Artifact => self.artifacts.get(resource).and_then(WantedArtifact::label),
        };
        named.unwrap_or_else(|| resource.to_string())
    }

    fn add_manifest(&mut self, manifest: &Manifest) {
        for entry in &manifest.entries {
            match &entry.origin {
                Origin::Registered { tree } => self.add_package(entry, *tree),
                Origin::Path { .. } => _ = self.local_paths.insert(entry.uuid),
                Origin::Git { repo_url, tree, .. } => self.add_repository(entry, repo_url, *tree),
                Origin::Unhashed => self.add_unhashed(entry),
            }
        }
    }

    fn add_resolved(&mut self, resolved: &Resolved) {
        for solved in &resolved.solved {
            for (resource, package) in solved.wanted() {
                if let Some(uuid) = resource.uuid() {
                    self.want_package(uuid, resource.tree(), package);
                }
            }
            let shipped = solved.packages.iter().filter(|(_, chosen)| chosen.tree.is_none());
            self.standard_libraries.extend(shipped.map(|(uuid, _)| *uuid));
        }
        self.unmirrorable.extend(resolved.unmirrorable.iter().cloned());
        self.local_paths.extend(&resolved.local_paths);
    }

    /// No hash: a standard library of some Julia, or else what a registry has under this version.
    fn add_unhashed(&mut self, entry: &ManifestEntry) {
        if stdlib::is_stdlib(entry.uuid) {
            self.standard_libraries.insert(entry.uuid);
            return;
        }
        match entry.version.as_deref().and_then(|version| self.registered.tree(entry.uuid, version)) {
            Some(tree) => self.add_package(entry, tree),
            None => self.add_unmirrorable(entry, UnmirrorableKind::Unhashed, None, None),
        }
    }

    /// No package server can give it; its repository can be carried.
    fn add_repository(&mut self, entry: &ManifestEntry, address: &str, tree: Option<TreeHash>) {
        let new = WantedRepository::new(address);
        let url = new.url.clone();
        let wanted = self.repositories.entry(url.clone()).or_insert(new);
        wanted.trees.extend(tree);
        wanted.packages.insert(entry.name.clone());
        self.add_unmirrorable(entry, UnmirrorableKind::Git, Some(url), tree);
    }

    fn add_unmirrorable(
        &mut self,
        entry: &ManifestEntry,
        kind: UnmirrorableKind,
        repo_url: Option<String>,
        tree: Option<TreeHash>,
    ) {
        let ManifestEntry { name, uuid, version, .. } = entry.clone();
        self.unmirrorable.insert(Unmirrorable { name, uuid, version, kind, repo_url, tree });
    }

    fn add_package(&mut self, entry: &ManifestEntry, tree: TreeHash) {
        let package = WantedPackage { name: Some(entry.name.clone()), version: entry.version.clone() };
        self.want_package(entry.uuid, tree, package);
    }

    /// Of several names the first counts; what it leaves open, the next or a registry says.
    fn want_package(&mut self, uuid: Uuid, tree: TreeHash, package: WantedPackage) {
        let known = self.packages.remove(&Resource::Package { uuid, tree });
        let (name, version) = known.map_or((None, None), |known| (known.name, known.version));
        let package = WantedPackage {
            name: name.or(package.name).or_else(|| self.registered.name(uuid)),
            version: version.or(package.version).or_else(|| self.registered.version(uuid, tree)),
        };
        self.packages.insert(Resource::Package { uuid, tree }, package);
    }

    fn add_miss(&mut self, resource: Resource, name: Option<&str>, version: Option<&str>) {
        match resource {
            Resource::Registry { .. } => _ = self.registries.insert(resource),
            Resource::Package { uuid, tree } => {
                let package = WantedPackage { name: name.map(str::to_owned), version: version.map(str::to_owned) };
                self.want_package(uuid, tree, package);
            }
            // Somebody asked for it: neither platform nor laziness is a reason to leave it.
            Resource::Artifact { .. } => {
                let artifact = self.artifacts.entry(resource).or_default();
                artifact.names.extend(name.map(str::to_owned));
                artifact.lazy = false;
            }
        }
    }

    fn add_artifact(&mut self, artifact: &HeldArtifact, owner: Option<&str>) -> Option<Resource> {
        if !self.selection.wants(artifact) {
            return None;
        }
        let resource = Resource::Artifact { tree: artifact.tree };
        let is_new = !self.artifacts.contains_key(&resource);
        self.artifacts.entry(resource).or_insert_with(WantedArtifact::lazily).add(artifact, owner);
        is_new.then_some(resource)
    }
}

impl Selection {
    /// What the configuration says.
    pub fn new(config: &config::Prewarm) -> Result<Self, ParsePlatformError> {
        let platforms = config.platforms.iter().map(|platform| platform.parse::<Platforms>());
        Ok(Self { platforms: platforms.collect::<Result<_, _>>()?, lazy: config.lazy })
    }

    /// Whatever anybody may want.
    pub const ALL: Self = Self { platforms: Platforms::All, lazy: true };

    fn wants(&self, artifact: &HeldArtifact) -> bool {
        self.platforms.match_tags(artifact.platform.as_ref()) && (self.lazy || !artifact.lazy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::julia::{ArtifactsToml, MissList};
    use proptest::prelude::*;

    const U1: &str = "7876af07-990d-54b4-ab0e-23690620f79a";
    const DELIMITED_FILES: &str = "8bb1440f-4735-579b-a4ab-409b98df4dab";

    fn tree(digit: char) -> TreeHash {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn artifact(digit: char) -> Resource {
        Resource::Artifact { tree: tree(digit) }
    }

    fn input(content: Content) -> Input {
        Input { path: "x".into(), kind: None, content: Ok(content) }
    }

    fn manifest(text: &str) -> Input {
        input(Content::Manifest(Manifest::parse(text).unwrap()))
    }

    fn plan_of(platforms: &str, lazy: bool, inputs: &[Input]) -> Plan {
        let package = format!("name='R'\nuuid='{U1}'\n[packages]\n{U1}={{name='Registered',path='E'}}");
        let versions = format!("[\"1.0.0\"]\ngit-tree-sha1='{}'", tree('a'));
        let registry = RegistryIndex::from_files([("Registry.toml", package), ("E/Versions.toml", versions)]).unwrap();
        let selection = Selection { platforms: platforms.parse().unwrap(), lazy };
        Plan::new(selection, inputs, vec![Arc::new(registry)])
    }

    fn plan(inputs: &[Input]) -> Plan {
        plan_of("x86_64-linux-gnu", true, inputs)
    }

    fn held(text: &str) -> Vec<HeldArtifact> {
        ArtifactsToml::parse(text).unwrap().into_iter().map(hold).collect()
    }

    fn labels(plan: &Plan) -> Vec<String> {
        plan.resources().map(|resource| plan.label(&resource)).collect()
    }

    #[test]
    fn every_origin_goes_where_it_belongs() {
        let text = format!(
            "[[Git]]\nuuid='{U1}'\nrepo-url='https://h/g.git'\ngit-tree-sha1='{0}'\n\
             [[Local]]\nuuid='{U1}'\npath='../L'\n[[Other]]\nuuid='{U1}'\npath='../O'\n\
             [[Upgraded]]\nuuid='{DELIMITED_FILES}'\nversion='1.9.1'\ngit-tree-sha1='{0}'\n\
             [[Stdlib]]\nuuid='{DELIMITED_FILES}'\n\
             [[Lost]]\nuuid='{U1}'\nversion='2.0.0'\n[[Nameless]]\nuuid='{U1}'\n[[Found]]\nuuid='{U1}'\nversion='1.0.0'\n",
            tree('b')
        );
        let plan = plan(&[manifest(&text), manifest(&text)]);
        assert_eq!(labels(&plan), ["Found 1.0.0", "Upgraded 1.9.1"]);
        assert_eq!((plan.standard_libraries.len(), plan.local_paths.len()), (1, 1));
        let unmirrorable: Vec<_> = plan.unmirrorable.iter().map(|u| (u.name.as_str(), u.kind)).collect();
        assert_eq!(
            unmirrorable,
            [
                ("Git", UnmirrorableKind::Git),
                ("Lost", UnmirrorableKind::Unhashed),
                ("Nameless", UnmirrorableKind::Unhashed)
            ]
        );
        assert_eq!(plan.unmirrorable.first().unwrap().repo_url.as_deref(), Some("https://h/g.git"));
    }

    #[test]
    fn a_package_is_wanted_once_under_its_first_name() {
        let entry = |name, version| format!("[[{name}]]\nuuid='{U1}'\n{version}git-tree-sha1='{}'\n", tree('a'));
        let misses = MissList::parse(&format!("# airlock misses\n/package/{U1}/{}\n", tree('a'))).unwrap();
        let both = [manifest(&entry("B", "")), manifest(&entry("A", "version='9.0.0'\n"))];
        assert_eq!(labels(&plan(&both)), ["B 1.0.0"], "the registry knows the version");
        assert_eq!(labels(&plan(&[input(Content::Misses(misses))])), ["Registered 1.0.0"]);
    }

    #[test]
    fn misses_are_wanted_whatever_the_selection() {
        let (registry, artifact) = (format!("/registry/{U1}/{}", tree('c')), format!("/artifact/{}", tree('d')));
        let text = format!("# airlock misses\n{registry}\n{artifact} wick\n{artifact} data\n");
        let plan = plan_of("x86_64-linux-gnu", false, &[input(Content::Misses(MissList::parse(&text).unwrap()))]);
        assert_eq!(labels(&plan), [registry.as_str(), "data"]);
    }

    #[test]
    fn artifacts_are_chosen_by_platform_and_laziness() {
        let text = format!(
            "[[a]]\nos='linux'\narch='x86_64'\ngit-tree-sha1='{}'\n[[a]]\nos='linux'\narch='x86_64'\nlibc='musl'\ngit-tree-sha1='{}'\n\
             [[a]]\nos='linux'\narch='x86_64'\nlibc='glibc'\ncuda='12'\ngit-tree-sha1='{}'\nlazy=true\n\
             [any]\nos='windows'\ngit-tree-sha1='{}'\n",
            tree('1'),
            tree('2'),
            tree('3'),
            tree('4')
        );
        let wanted = |platform: &str, lazy| {
            let artifacts = input(Content::Artifacts(ArtifactsToml::parse(&text).unwrap(), None));
            let trees: Vec<_> = plan_of(platform, lazy, &[artifacts]).resources().collect();
            trees
        };
        assert_eq!(wanted("x86_64-linux-gnu", true), ['1', '3', '4'].map(artifact));
        assert_eq!(wanted("x86_64-linux-gnu", false), ['1', '4'].map(artifact));
        assert_eq!(wanted("x86_64-linux-musl", true), ['2', '4'].map(artifact));
        assert_eq!(wanted("all", true), ['1', '2', '3', '4'].map(artifact));
    }

    #[test]
    fn a_shared_artifact_is_wanted_once_for_all_who_name_it() {
        let (one, two) = (Resource::Package { uuid: U1.parse().unwrap(), tree: tree('a') }, artifact('b'));
        let mut plan = plan(&[]);
        let linux = "os='linux'\narch='x86_64'";
        let first = plan.open(&one, &held(&format!("[[x]]\n{linux}\ngit-tree-sha1='{}'\nlazy=true", tree('1'))));
        assert_eq!(first, [artifact('1')]);
        let wanted = plan.artifacts[&artifact('1')].clone();
        assert_eq!((wanted.lazy, wanted.platforms.first().map(String::as_str)), (true, Some("x86_64-linux-gnu")));
        let second = plan.open(&two, &held(&format!("[y]\ngit-tree-sha1='{}'", tree('1'))));
        assert_eq!(second, []);
        let wanted = &plan.artifacts[&artifact('1')];
        assert_eq!((wanted.lazy, wanted.platforms.len(), wanted.names.len()), (false, 0, 2));
        assert_eq!(wanted.packages.first().map(String::as_str), Some(U1), "without a name its uuid");
    }

    proptest! {
        #[test]
        fn the_order_of_packages_changes_nothing(order in Just(['1', '2', '3']).prop_shuffle()) {
            let text = |digit| format!("[x{digit}]\ngit-tree-sha1='{}'\n[y]\ngit-tree-sha1='{}'", tree(digit), tree('9'));
            let mut plan = plan(&[]);
            let mut new = 0;
            for digit in order {
                new += plan.open(&Resource::Package { uuid: U1.parse().unwrap(), tree: tree(digit) }, &held(&text(digit))).len();
            }
            prop_assert_eq!(new, 4);
            let names: Vec<_> = plan.artifacts.values().flat_map(|wanted| wanted.names.iter().cloned()).collect();
            prop_assert_eq!(names, ["x1", "x2", "x3", "y"]);
        }
    }
}
