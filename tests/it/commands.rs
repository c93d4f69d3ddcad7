//! Every command that writes, once, as the tests of faults run it: from what it begins with to what can
//! be seen at the end.

use crate::binary::{Serving, command};
use crate::bundle_import::pack::Packing;
use crate::disk_model::Disk;
use crate::registries::{PATIENCE, list, three};
use crate::support::{LONG, Scene, client, mirror};
use airlock::protocol::{Flavor, GENERAL, Kind, Resource};
use airlock::sample::{SampleUpstream, Site};
use airlock::store::{Client, Miss, Reason, Store};
use airlock::tree::{Limits, hash_tar_gz};
use airlock::verify::verify;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Output};
use std::sync::Arc;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");

/// What commands only read, and what of the cache can be made again or is a line for people.
const LEFT_OUT: [&str; 9] = [
    "depot",
    "origin",
    "cache/.airlock/facts",
    "cache/.airlock/locks",
    "cache/.airlock/quarantine",
    "cache/.airlock/view",
    "cache/.airlock/clones",
    "cache/.airlock/repositories.jsonl",
    "cache/.airlock/activity.jsonl",
];

/// What a command begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// An upstream, and no cache.
    Nothing,
    /// A cache that was prewarmed.
    Warm,
    /// One that has a wish and a miss too.
    Asked,
    /// One with two states of a registry; the upstream has a third.
    Moved,
    /// A closed side that rsync filled with the whole sample.
    Inside,
    /// One in which a file is damaged.
    Damaged,
    /// A depot.
    Depot,
    /// The volumes of a bundle, in which there is a git bundle too.
    Bundle,
    /// A manifest that takes a package from a git repository.
    Repository,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// `{upstream}` and `{tree}` stand for what is known only then; `serve` is also asked for things.
    pub(crate) args: &'static [&'static str],
    /// Its exit code when nothing gets in the way.
    pub(crate) code: i32,
    /// The fault points that it passes: all of them.
    pub(crate) points: &'static [&'static str],
}

/// A folder in which a command can be run again and again, and its upstream.
pub(crate) struct Place {
    pub(crate) scene: Scene,
    tree: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    /// What a client of `serve` completely received.
    pub(crate) got: Vec<Resource>,
}

impl Look {
    /// What a ledger got after a sync of it that failed is lost too, in silence, and what is listed and not
    /// logged is logged as found on the disk: that counts as the source it came from.
    pub(crate) fn with_sources_of(mut self, expected: &Self) -> Self {
        let known = &expected.remembered["generations"];
        let source_of = |line: String| match line.strip_suffix("disk") {
            Some(start) => known.iter().find(|it| it.starts_with(start)).cloned().unwrap_or(line),
            None => line,
        };
        if let Some(lines) = self.remembered.get_mut("generations") {
            *lines = std::mem::take(lines).into_iter().map(source_of).collect();
        }
        self
    }
}

impl Scenario {
    /// Whether a run may end so after one that was cut off: what that did is no news.
    pub(crate) fn may_end_again(&self, ran: &Ran) -> bool {
        let done = match self.name {
            "verify" => 0,
            "request remove" => 1,
            "keygen" => 2,
            _ => self.code,
        };
        ran.status.code().is_some_and(|code| code == self.code || code == done)
    }

    /// Whether two looks are the same, and where not.
    pub(crate) fn assert_same(&self, there: &Look, expected: &Look, when: &str) {
        let mut differences = Vec::new();
        for path in there.files.keys().chain(expected.files.keys()).collect::<BTreeSet<_>>() {
            let (one, other) = (there.files.get(path), expected.files.get(path));
            let is_early = path.starts_with("cache/.airlock/first-seen/") && self.args[0] == "serve";
            if one != other && !is_early {
                differences.push(format!("{path}: there {}, expected {}", one.is_some(), other.is_some()));
            }
        }
        for (what, expected) in &expected.remembered {
            // A server may be stopped before it has read its registry.
            if there.remembered[what] != *expected && !(*what == "first seen" && self.args[0] == "serve") {
                differences.push(format!("{what}: {:?}, expected {expected:?}", there.remembered[what]));
            }
        }
        assert!(differences.is_empty(), "{when}: {differences:#?}");
    }
}

impl Ran {
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Self { status: output.status, said, got: Vec::new() }
    }
}

impl Place {
    pub(crate) async fn new(start: Start) -> Self {
        let (mut scene, mut tree) = (Scene::new().await, String::new());
        let folder = scene.folder.path().to_owned();
        match start {
            Start::Nothing => {}
            Start::Warm => warm(&scene).await,
            Start::Asked => {
                warm(&scene).await;
                let store = Store::open(&scene.cache()).unwrap();
                store.add_wishes(&["Faraway".parse().unwrap(), "Nearby".parse().unwrap()]).unwrap();
                store.misses().append(&[miss()]).unwrap();
            }
            Start::Moved => {
                let (moved, [one, two, newest]) = three().await;
                let mirror = mirror(&moved.online());
                for state in [one, two] {
                    list(&moved.upstream, Flavor::Plain, state);
                    assert_eq!(mirror.refresh_registries(PATIENCE).await, []);
                }
                mirror.close().await;
                list(&moved.upstream, Flavor::Plain, newest);
                (scene, tree) = (moved, one.tree.to_string());
            }
            Start::Inside | Start::Damaged => {
                let site = Site::sample().unwrap();
                for path in site.resources().map(|it| it.to_string()).chain(["/registries".to_owned()]) {
                    let file = folder.join("cache").join(path.trim_start_matches('/'));
                    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
                    fs_err::write(file, site.body(&path).unwrap()).unwrap();
                }
                if start == Start::Damaged {
                    let damaged = site.resources().find(|it| it.kind() == Kind::Artifact).unwrap().relative_path();
                    fs_err::write(folder.join("cache").join(damaged), "damaged").unwrap();
                }
            }
            Start::Depot => {
                let carried = crate::adopt::Carried::demo();
                fs_err::rename(carried.at(""), folder.join("depot")).unwrap();
            }
            Start::Bundle => {
                let git_bundle = crate::git_packages::git_bundle();
                let packing = Packing::of(&Site::sample().unwrap(), 2);
                let files = packing.with(crate::git_packages::FILE, &git_bundle, &[]).write(&folder);
                for (number, file) in (1..).zip(files) {
                    fs_err::rename(file, folder.join(format!("b{number}.tar"))).unwrap();
                }
            }
            Start::Repository => crate::git_packages::lay_out(&folder),
        }
        fs_err::create_dir_all(scene.folder.path().join("out")).unwrap();
        Self { scene, tree }
    }

    pub(crate) fn upstream(&self) -> &SampleUpstream {
        &self.scene.upstream
    }

    /// A copy of its folder, as it is now.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = std::process::Command::new("cp");
        copy.arg("-a").arg(self.scene.folder.path().join(".")).arg(folder.path());
        assert!(copy.status().unwrap().success());
        folder
    }

    /// Runs a command to its end; `disk` losing its power is its end.
    pub(crate) async fn run(
        &self,
        scenario: &Scenario,
        folder: &Path,
        environment: &[(&str, &str)],
        disk: Option<&Disk>,
    ) -> Ran {
        let mut command = command(folder);
        let upstream = self.scene.upstream.url();
        let fill = |text: &&str| text.replace("{upstream}", &upstream).replace("{tree}", &self.tree);
        command.args(scenario.args.iter().map(fill)).envs(environment.iter().copied());
        // The addresses of the manifest's repository lead to a folder.
        let config = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(config.path(), crate::git_packages::rewrites(&folder.join("origin"))).unwrap();
        command.env("GIT_CONFIG_GLOBAL", config.path()).env("GIT_CONFIG_SYSTEM", "/dev/null");
        let run = async {
            if scenario.args[0] == "serve" {
                return self.serve(command, disk).await;
            }
            let child = command.spawn().unwrap();
            let id = child.id().unwrap();
            let output = child.wait_with_output();
            tokio::pin!(output);
            tokio::select! {
                output = &mut output => output.unwrap().into(),
                () = cut(disk) => {
                    kill(id);
                    output.await.unwrap().into()
                }
            }
        };
        let hang = || panic!("{}: it hangs", scenario.name);
        tokio::time::timeout(LONG, run).await.unwrap_or_else(|_| hang())
    }

    /// A server that is asked for all that the sample has and for something that nobody has, and then
    /// stopped.
    async fn serve(&self, mut command: tokio::process::Command, disk: Option<&Disk>) -> Ran {
        command.args(["--listen", "127.0.0.1:0"]);
        let mut child = command.spawn().unwrap();
        let id = child.id().unwrap();
        let (url, talk) = Serving::listen(&mut child);
        let asked = async {
            let mut got = Vec::new();
            let Ok(url) = url.await else { return got };
            let client = client();
            let _ = client.get(format!("{url}/registries")).send().await;
            for resource in Site::sample().unwrap().resources() {
                let Ok(answer) = client.get(format!("{url}{resource}")).send().await else { continue };
                let is_good = answer.status() == 200;
                if is_good && answer.bytes().await.is_ok() {
                    got.push(resource);
                }
            }
            let absent = client.get(format!("{url}{}", miss().resource)).header("julia-version", "1.10.2");
            let _ = absent.send().await;
            if let Some(id) = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            }
            got
        };
        let (got, status) = tokio::select! {
            both = async { (asked.await, child.wait().await.unwrap()) } => both,
            () = cut(disk) => {
                kill(id);
                (Vec::new(), child.wait().await.unwrap())
            }
        };
        Ran { status, said: talk.await.unwrap(), got }
    }
}

async fn cut(disk: Option<&Disk>) {
    match disk {
        Some(disk) => disk.is_cut().await,
        None => std::future::pending().await,
    }
}

fn kill(id: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
}

fn miss() -> Miss {
    let time = jiff::Timestamp::now();
    let tree = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    Miss {
        resource: Resource::Artifact { tree },
        name: None,
        version: None,
        reason: Reason::Offline,
        detail: None,
        first: time,
        last: time,
        count: 1,
        client: Client::default(),
    }
}

async fn warm(scene: &Scene) {
    let arguments = ["prewarm", "--platform", "all", "--upstream", &scene.upstream.url(), DEMO];
    let output = crate::binary::run(scene.folder.path(), &arguments).await;
    assert!(output.status.success(), "{output:?}");
}

/// What can be seen: the files, and what the cache remembers, without times and chance.
#[derive(Debug)]
pub(crate) struct Look {
    files: BTreeMap<String, u64>,
    remembered: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Look {
    /// Opens the cache, as a next command does, and reads everything.
    pub(crate) fn at(folder: &Path) -> Self {
        let store = Store::open(&folder.join("cache")).unwrap();
        let mut remembered: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        let mut add = |what, lines: Vec<String>| drop(remembered.insert(what, lines.into_iter().collect()));
        let generations = store.generations().unwrap();
        let of_registries: BTreeSet<_> = generations.iter().map(|it| it.uuid).collect();
        let seen = of_registries.iter().map(|uuid| format!("{uuid} {}", store.first_seen(*uuid).unwrap().count()));
        add("first seen", seen.collect());
        // The port of an upstream is chance, and so is the folder of a depot.
        let source = |source: &str| source.split(':').next().unwrap_or_default().to_owned();
        let line = |it: &airlock::store::Generation| format!("{:?} {} {}", it.flavor, it.tree, source(&it.source));
        add("generations", generations.iter().map(line).collect());
        add("pins", vec![store.pins().unwrap().to_string()]);
        add("wishes", store.wishes().unwrap().iter().map(|it| it.wish.to_string()).collect());
        add("misses", store.misses().read().unwrap().iter().map(|it| it.resource.to_string()).collect());
        add("received", store.received_bundles().unwrap().iter().map(|it| it.id.to_string()).collect());
        add("sent", vec![(!store.sent("all").unwrap().is_empty()).to_string()]);
        add("pinned versions", store.pinned_versions().unwrap().iter().map(ToString::to_string).collect());
        add("platforms", store.served_platforms().unwrap());
        add("Julias", store.julia_versions().unwrap().iter().map(ToString::to_string).collect());
        add("quarantined", store.quarantined().unwrap().iter().map(ToString::to_string).collect());
        for flavor in Flavor::ALL {
            add(flavor.file_name(), store.listing(flavor).unwrap().iter().map(ToString::to_string).collect());
        }
        store.activities().unwrap();
        drop(store);
        let mut files = BTreeMap::new();
        walk(folder, "", &mut files);
        Self { files, remembered }
    }

    /// Whether a resource is in the cache.
    pub(crate) fn has(&self, resource: &Resource) -> bool {
        self.files.contains_key(&format!("cache{resource}"))
    }
}

/// Names, and what is in the files of the cache. Of what is numbered by chance only that it is there.
fn walk(folder: &Path, below: &str, files: &mut BTreeMap<String, u64>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if LEFT_OUT.iter().any(|left_out| path.starts_with(left_out)) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &path, files);
            continue;
        }
        let path = if path.starts_with("cache/.airlock/bundles/sent/") { "sent".to_owned() } else { path };
        let is_content = path.starts_with("cache/") && !path.starts_with("cache/.airlock/") && !path.contains("/git/");
        let mut hasher = DefaultHasher::new();
        if is_content {
            fs_err::read(entry.path()).unwrap().hash(&mut hasher);
        }
        let is_volume = path.starts_with("out/") && Path::new(&path).extension().is_some_and(|it| it == "tar");
        files.insert(if is_volume { "out/a volume".to_owned() } else { path }, hasher.finish());
    }
}

/// Everything that can be seen in a cache is right.
pub(crate) fn assert_whole(cache: &Path, when: &str) {
    let store = Arc::new(Store::open(cache).unwrap_or_else(|error| panic!("{when}: {error}")));
    let report = verify(&store, &Limits::default(), 2, &|_, _| {}).unwrap();
    assert!(report.is_clean(), "{when}: {report:?}");
    for flavor in Flavor::ALL {
        let Ok(text) = fs_err::read_to_string(cache.join(flavor.file_name())) else { continue };
        let listing = airlock::protocol::Listing::parse(&text).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(listing.iter().all(|registry| store.has(&registry.into())), "{when}: lists what is not here");
    }
    for registry in
        Flavor::ALL.into_iter().flat_map(|flavor| store.view_listing(flavor).unwrap().iter().collect::<Vec<_>>())
    {
        let body = fs_err::File::open(store.path(&registry.into())).unwrap();
        let found = hash_tar_gz(body, &Limits::default(), |_| false).map(|contents| contents.strict);
        assert_eq!(found.ok(), Some(registry.tree), "{when}: a derived registry is listed and not whole");
    }
    assert!(store.generations().unwrap().iter().all(|it| it.uuid == GENERAL), "{when}");
    drop(store);
    let left = fs_err::read_dir(cache.join(".airlock/tmp")).unwrap().count();
    assert_eq!(left, 0, "{when}: what the dead left behind was not swept");
}
