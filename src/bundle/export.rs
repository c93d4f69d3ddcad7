//! One export from its beginning to its end.

use super::hash::{Hashed, HashedRepository, hash_all, hash_repositories};
use super::layout::{Layout, lay_out, volume_bytes};
use super::order::{ExportError, Order};
use super::select::{Chosen, choose};
use super::write::{Parts, folder_of, part_of};
use super::{KeyId, Step, Watch, describe, sbom, sums};
use crate::closure::{Content, Input, Registries, grant, read_inputs};
use crate::exchange::{BundleIndex, INDEX_FORMAT, Request, Sha256, Uncarried, UncarriedKind};
use crate::fault;
use crate::julia::{FileKind, MissList, MissListEntry, RegisteredVersion};
use crate::mirror::{Mirror, blocking};
use crate::prewarm::{self, ByName};
use crate::protocol::{Kind, RepositoryFile, Uuid};
use crate::store::{Action, StoreError};
use serde::Serialize;
use sha2::Digest as _;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What came of an export, as one document.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// Nothing was written.
    pub dry_run: bool,
    /// The bundle; of a dry run, what would have been its name.
    pub id: Uuid,
    /// Whom it is for.
    pub destination: String,
    /// Its number for that destination.
    pub sequence: u64,
    /// Earlier numbers of which it has everything again.
    pub repeats: BTreeSet<u64>,
    /// The volumes, in order.
    pub files: Vec<PathBuf>,
    /// Bytes of the volumes, all together.
    pub bytes: u64,
    /// How many registries are in it.
    pub registries: usize,
    /// How many packages.
    pub packages: usize,
    /// How many artifacts.
    pub artifacts: usize,
    /// The git bundles of repositories in it.
    pub repositories: Vec<RepositoryFile>,
    /// How many resources and git bundles were left out because the other side has them.
    pub left_out: usize,
    /// Packages in it, by name.
    pub new_packages: Vec<NewPackage>,
    /// The key that signed it.
    pub signed_by: Option<KeyId>,
    /// What was wanted and is not in it.
    pub uncarried: Vec<Uncarried>,
    /// Whether nothing is missing that should be in it.
    pub complete: bool,
}

/// A package in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPackage {
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The versions that the other side has, if that is known: newest first.
    pub replaces: Option<Vec<String>>,
}

/// Makes a bundle, or says what it would be. Until all of it is on disk, nothing of it has its name.
pub async fn export(mirror: Arc<Mirror>, order: Order, watch: Arc<dyn Watch>) -> Result<Exported, ExportError> {
    let destination = order.destination()?;
    let paths = order.paths.clone();
    let mut inputs = blocking(move || read_inputs(&paths)).await?;
    let asks = order.fetch && !order.dry_run && order.request.is_some() && !mirror.is_offline();
    let mut task = task(&order);
    // Those that clients were seen to run, if nobody named any.
    task.by_name.prepare(mirror.store()).map_err(std::io::Error::other)?;
    let mut problems = Vec::new();
    if asks {
        let reports = prewarm::prepare(&mirror, &task, &*watch).await;
        problems.extend(reports.iter().filter_map(|report| {
            let why = report.reason.clone()?;
            let what = format!("registry {}", report.uuid);
            Some(Uncarried { what, kind: UncarriedKind::Missing, why })
        }));
    } else {
        mirror.load_names().await;
    }
    inputs = prewarm::choose(&mirror, &task.by_name, inputs, &order.cancel).await?;
    if let Some(request) = order.request.clone() {
        let mirror = Arc::clone(&mirror);
        let cancel = order.cancel.clone();
        let (input, refused) = blocking(move || wanted(&mirror, &request, &|| cancel.is_cancelled())).await??;
        inputs.push(input);
        problems.extend(refused);
    }
    let fetched = if asks {
        let report = prewarm::run_inputs(Arc::clone(&mirror), &task, &inputs, Vec::new(), &*watch).await;
        mirror.load_names().await;
        Some(report)
    } else {
        None
    };
    let pack = Pack { mirror, order, destination, inputs, fetched, problems, watch };
    blocking(move || pack.run()).await?
}

/// The fetching that comes first.
fn task(order: &Order) -> prewarm::Request {
    prewarm::Request {
        paths: order.paths.clone(),
        by_name: ByName { julias: order.julias.clone(), ..ByName::default() },
        platforms: order.platforms.clone(),
        lazy: order.lazy,
        dry_run: false,
        jobs: order.jobs,
        attempts: order.attempts,
        git: false,
        allow_unmirrorable: order.allow_unmirrorable,
        cancel: order.cancel.clone(),
    }
}

/// What a request asks for, as an input, and the wishes that come to nothing.
fn wanted(
    mirror: &Mirror,
    request: &Request,
    stopped: &dyn Fn() -> bool,
) -> Result<(Input, Vec<Uncarried>), StoreError> {
    let misses = request.misses.iter().map(|miss| MissListEntry {
        resource: miss.resource,
        name: miss.name.clone(),
        version: miss.version.clone(),
    });
    let damaged = request.damaged.iter().map(|it| MissListEntry { resource: it.resource, name: None, version: None });
    let julias: Vec<_> = request.julia.iter().filter_map(|version| version.parse().ok()).collect();
    let registries = if request.wishes.is_empty() {
        Registries::default()
    } else {
        Registries::load(mirror.store(), mirror.limits())?
    };
    registries.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    let forbids = |uuid, version: &RegisteredVersion<'_>| mirror.forbids(uuid, version.tree);
    let granted = grant(&request.wishes, &julias, &registries, &forbids, stopped);
    let wishes = granted.packages.into_iter().map(|(resource, package)| MissListEntry {
        resource,
        name: package.name,
        version: package.version,
    });
    let entries = misses.chain(damaged).chain(wishes).collect();
    let refused = granted.refused.into_iter().map(|(wish, why)| Uncarried {
        what: wish.to_string(),
        kind: UncarriedKind::Unknown,
        why,
    });
    let content = Ok(Content::Misses(MissList { entries }));
    Ok((Input { path: "the request".into(), kind: Some(FileKind::MissList), content }, refused.collect()))
}

/// Everything after the fetching. Blocks.
struct Pack {
    mirror: Arc<Mirror>,
    order: Order,
    destination: String,
    inputs: Vec<Input>,
    fetched: Option<prewarm::Report>,
    problems: Vec<Uncarried>,
    watch: Arc<dyn Watch>,
}

impl Pack {
    fn run(mut self) -> Result<Exported, ExportError> {
        self.order.check()?;
        let mirror = Arc::clone(&self.mirror);
        let store = mirror.store();
        // Held until the number is recorded.
        let _number = if self.order.dry_run { None } else { Some(store.lock_sent(&self.destination)?) };
        let last = store.sent(&self.destination)?.last().copied().unwrap_or_default();
        let mut chosen = choose(&mirror, &self.order, &self.inputs, self.fetched.as_ref(), &self.destination)?;
        chosen.uncarried.extend(std::mem::take(&mut self.problems));
        let (hashed, repositories) = self.hash(&mut chosen)?;
        fault::point("export.hashed");
        let is_empty = hashed.is_empty() && repositories.is_empty();
        if is_empty && chosen.base.resources.is_empty() && chosen.base.repositories.is_empty() {
            return Err(ExportError::Nothing);
        }
        let out = self.out(last + 1);
        let layout = self.lay_out(chosen, (&hashed, &repositories), last + 1, &out)?;
        if self.order.dry_run {
            return Ok(self.exported(&layout, &out, Vec::new()));
        }
        self.watch.step(Step::Packing { files: hashed.len() + repositories.len() });
        let parts = Parts::write(store, &self.order, &out, &layout, (&hashed, &repositories), &*self.watch)?;
        fault::point("export.packed");
        self.forget_part(last)?;
        // Before anybody can see the files: a number that went out must never be given again.
        let (_, index) = layout.metadata.first().ok_or(ExportError::Nothing)?;
        store.record_sent(&self.destination, last + 1, index)?;
        fault::point("export.recorded");
        let files = parts.publish()?;
        fault::point("export.renamed");
        let exported = self.exported(&layout, &out, files);
        store.note(Action::Export, exported.complete, exported.summary());
        Ok(exported)
    }

    /// Hashes what was chosen; what is unfit is chosen no more.
    fn hash(&self, chosen: &mut Chosen) -> Result<(Vec<Hashed>, Vec<HashedRepository>), ExportError> {
        self.watch.step(Step::Hashing { files: chosen.resources.len() + chosen.repositories.len() });
        let mut hashed = Vec::new();
        for (resource, outcome) in hash_all(&self.mirror, &self.order, &chosen.resources, &*self.watch)? {
            match outcome {
                Ok(good) => hashed.push(good),
                Err(why) => {
                    let what = chosen.label(&self.mirror, &resource);
                    chosen.unfit(what, &resource, &why);
                }
            }
        }
        let repositories = hash_repositories(&self.mirror, &self.order, &chosen.repositories, &*self.watch)?;
        let gone = |file: &&RepositoryFile| !repositories.iter().any(|it| it.file == **file);
        let gone: Vec<_> = chosen.repositories.keys().filter(gone).cloned().collect();
        for file in &gone {
            chosen.unfit_repository(file);
        }
        Ok((hashed, repositories))
    }

    /// The file to write.
    fn out(&self, number: u64) -> PathBuf {
        let out = &self.order.out;
        if out.is_dir() || out.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return out.join(format!("airlock-{}-{number:06}.tar", self.destination));
        }
        out.clone()
    }

    fn lay_out(
        &self,
        chosen: Chosen,
        (hashed, repositories): (&[Hashed], &[HashedRepository]),
        number: u64,
        out: &Path,
    ) -> Result<Layout, ExportError> {
        let entries = describe::entries(&self.mirror, &chosen, self.order.request.as_ref(), hashed);
        let repositories = describe::repository_entries(&chosen, repositories);
        let (id, created) = (random_id()?, whole_second(jiff::Timestamp::now()));
        let what = format!("airlock-{}-{number:06}", self.destination);
        let sbom = sbom::sbom(id, created, &what, (&entries, &repositories), hashed);
        let index = BundleIndex {
            airlock_bundle: INDEX_FORMAT,
            id,
            created,
            origin: self.mirror.store().site()?,
            destination: self.destination.clone(),
            sequence: number,
            repeats: chosen.repeats,
            builds_on: chosen.base,
            platforms: self.order.platforms.names(),
            registries: chosen.registries,
            resources: entries,
            repositories,
            volumes: Vec::new(),
            uncarried: chosen.uncarried.into_iter().collect(),
            sbom_sha256: sha256(&sbom),
        };
        let sums = sums(&index);
        let comment = format!("airlock bundle {id}, number {number} for {}", self.destination);
        lay_out(index, out, self.order.volume_size, |index| {
            let bytes = index.to_json();
            let signature = self.order.key.as_ref().map(|key| key.sign(&bytes, &comment)).transpose()?;
            let mut metadata = vec![("bundle.json", bytes)];
            metadata.extend(signature.map(|signature| ("bundle.json.minisig", signature.into_bytes())));
            metadata.extend([("SHA256SUMS", sums.clone()), ("sbom.cdx.json", sbom.clone())]);
            Ok(metadata)
        })
    }

    /// Removes what an export left that was killed between its record and its names: nobody will
    /// write those numbers again.
    fn forget_part(&self, last: u64) -> Result<(), ExportError> {
        let Some(index) = self.mirror.store().sent_index(&self.destination, last)? else { return Ok(()) };
        let (folder, now) = (folder_of(&self.out(last)), self.out(last + 1));
        for volume in &index.volumes {
            let name = folder.join(&volume.file);
            if now.file_name() != name.file_name() && self.order.out.is_dir() {
                let _ = fs_err::remove_file(part_of(&name));
            }
        }
        Ok(())
    }

    fn exported(&self, layout: &Layout, out: &Path, files: Vec<PathBuf>) -> Exported {
        let index = &layout.index;
        let numbers = 1..=u32::try_from(index.volumes.len()).unwrap_or(u32::MAX);
        let packages = index.resources.iter().filter(|entry| entry.resource.kind() == Kind::Package);
        let new_packages = packages.map(|entry| NewPackage {
            name: entry.name.clone(),
            version: entry.version.clone(),
            replaces: entry.replaces.as_ref().map(|replaced| replaced.0.clone()),
        });
        let volume = |volume: &crate::exchange::Volume| out.with_file_name(&volume.file);
        Exported {
            dry_run: self.order.dry_run,
            id: index.id,
            destination: index.destination.clone(),
            sequence: index.sequence,
            repeats: index.repeats.clone(),
            files: if self.order.dry_run { index.volumes.iter().map(volume).collect() } else { files },
            bytes: numbers.map(|number| volume_bytes(layout, number)).sum(),
            registries: index.count(Kind::Registry),
            packages: index.count(Kind::Package),
            artifacts: index.count(Kind::Artifact),
            repositories: index.repositories.iter().map(|entry| entry.file.clone()).collect(),
            left_out: index.builds_on.resources.len() + index.builds_on.repositories.len(),
            new_packages: new_packages.collect(),
            signed_by: self.order.key.as_ref().map(super::SigningKey::id),
            uncarried: index.uncarried.clone(),
            complete: index.uncarried.iter().all(|uncarried| self.order.accepts(uncarried)),
        }
    }
}

impl Exported {
    /// In words, on one line.
    pub fn summary(&self) -> String {
        let Self { sequence, destination, registries, packages, artifacts, .. } = self;
        let repositories = match self.repositories.len() {
            0 => String::new(),
            count => format!(", {count} git bundles"),
        };
        format!(
            "bundle {sequence} for {destination}: {registries} registries, {packages} packages, {artifacts} artifacts{repositories}"
        )
    }
}

fn random_id() -> Result<Uuid, ExportError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(Uuid::from_random(bytes))
}

/// Headers of a tar know no parts of a second.
fn whole_second(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}
