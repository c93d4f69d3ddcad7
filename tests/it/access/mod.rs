//! Who may have what: tokens, scopes, private registries, the routes of administrators.

mod admin;
mod command;
mod julia;
mod leaks;
mod matrix;
mod random;

use crate::support::{Airlock, Scene, config, mirror};
use crate::view::resource;
use airlock::access::{Scope, Token};
use airlock::config::Config;
use airlock::mirror::Patience;
use airlock::protocol::{Resource, Uuid};
use airlock::sample::Site;
use airlock::tokens::TokensFile;
use airlock::tree::TarEntry;
use jiff::Timestamp;
use reqwest::{Method, Response};
use std::fmt::Write as _;

const REGISTRY: &str = "ac3e0000-0000-4000-8000-00000000000a";
const TOOLS: &str = "ac3e0000-0000-4000-8000-00000000000b";
const DATA: &str = "ac3e0000-0000-4000-8000-00000000000c";
const PRIVATE: &str = "access.private-registries = ['AcmeRegistry']\n";

/// The company Acme's registry beside General on one server, all of it in a cache.
pub(super) struct Stock {
    scene: Scene,
    registry: Resource,
    tools: Resource,
    /// Names both artifacts.
    data: Resource,
    /// Only Acme has it.
    measured: Resource,
    /// A package of General names it too.
    shared: Resource,
    /// General's.
    greeting: Resource,
    general: Resource,
}

impl Stock {
    async fn new() -> Self {
        let mut site = Site::sample().unwrap();
        let file = |path: &str, text: String| TarEntry::file(path, text, false);
        let uuid = |text: &str| text.parse::<Uuid>().unwrap();
        let measured = site.add_artifact([file("measured.csv", "1,2,3\n".to_owned())]).unwrap();
        let shared = resource("greeting-text-1");
        let entry = |name: &str, tree: &Resource| {
            let download = format!("[[{name}.download]]\nurl = \"https://acme.invalid/x\"\nsha256 = \"{:064}\"\n", 0);
            format!("[{name}]\ngit-tree-sha1 = \"{}\"\n{download}", tree.tree())
        };
        let project = |name, uuid| file("Project.toml", format!("name = \"{name}\"\nuuid = \"{uuid}\"\n"));
        let module = file("src/AcmeTools.jl", "module AcmeTools\nanswer() = 42\nend\n".to_owned());
        let tools = site.add_package(uuid(TOOLS), [project("AcmeTools", TOOLS), module]).unwrap();
        let artifacts = entry("measured", &measured) + &entry("acme_copy", &shared);
        let greeting = resource("Greeting/1.1.0");
        // What is shared is called after the package that is read last, and that must be Acme's: facts are
        // read in the order of trees.
        let numbered = |number: u32| {
            let number = file("number", number.to_string());
            [file("Artifacts.toml", artifacts.clone()), project("AcmeData", DATA), number]
        };
        let tree = |number| Site::empty().add_package(uuid(DATA), numbered(number)).unwrap().tree().to_string();
        let number = (0..100_000).find(|number| tree(*number).starts_with("ff")).unwrap();
        let data = site.add_package(uuid(DATA), numbered(number)).unwrap();
        let packages = [("AcmeData", data), ("AcmeTools", tools), ("Greeting", greeting)];
        let mut registry = format!("name = \"AcmeRegistry\"\nuuid = \"{REGISTRY}\"\n");
        registry += "repo = \"https://git.acme.invalid/AcmeRegistry.git\"\n[packages]\n";
        let mut files = Vec::new();
        for (name, package) in packages {
            let uuid = package.uuid().unwrap();
            writeln!(registry, "{uuid} = {{ name = \"{name}\", path = \"A/{name}\" }}").unwrap();
            let repo =
                format!("name = \"{name}\"\nuuid = \"{uuid}\"\nrepo = \"https://git.acme.invalid/{name}.git\"\n");
            files.push(file(&format!("A/{name}/Package.toml"), repo));
            let version = format!("[\"1.1.0\"]\ngit-tree-sha1 = \"{}\"\n", package.tree());
            files.push(file(&format!("A/{name}/Versions.toml"), version));
        }
        files.push(file("Registry.toml", registry));
        let registry = site.add_registry(uuid(REGISTRY), files).unwrap();
        let scene = Scene::with(site).await;
        let fetching = mirror(&scene.online());
        assert_eq!(fetching.refresh_registries(Patience::prewarm(1)).await, []);
        for resource in [greeting, shared, tools, data, measured] {
            fetching.fetch(&resource, Patience::prewarm(1)).await.unwrap();
        }
        Self { scene, registry, tools, data, measured, shared, greeting, general: resource("General") }
    }

    /// Inside, showing all or what is here.
    fn offline(&self, file: &str) -> Config {
        config(&self.scene.cache(), &[], file)
    }

    async fn serve(config: &Config) -> Airlock {
        let airlock = Airlock::quiet(config).await;
        airlock.mirror.rescan().await;
        airlock
    }

    fn private(&self) -> [Resource; 4] {
        [self.registry, self.tools, self.data, self.measured]
    }

    fn public(&self) -> [Resource; 3] {
        [self.general, self.greeting, self.shared]
    }

    /// Words that must not be told: names, uuids and trees.
    fn words(&self) -> Vec<String> {
        let trees = self.private().map(|resource| resource.tree().to_string());
        let words = ["Acme", "acme", "measured", REGISTRY, TOOLS, DATA];
        words.map(str::to_owned).into_iter().chain(trees).collect()
    }
}

/// Makes a token, and returns the header that shows it.
fn token(config: &Config, label: &str, scopes: &[&str], expires: Option<Timestamp>) -> String {
    let scopes = scopes.iter().map(|scope| scope.parse::<Scope>().unwrap()).collect();
    let file = TokensFile::new(config.tokens_file());
    let (_, secret): (Token, _) = file.add(label.parse().unwrap(), scopes, expires).unwrap();
    format!("Bearer {}", secret.expose())
}

fn revoke(config: &Config, label: &str) {
    TokensFile::new(config.tokens_file()).revoke(label).unwrap().unwrap();
}

async fn get(airlock: &Airlock, path: &str, authorization: &str) -> Response {
    ask(airlock, Method::GET, path, authorization, &[]).await
}

/// Asks with an `Authorization` header, or without if it is empty.
async fn ask(airlock: &Airlock, method: Method, path: &str, authorization: &str, more: &[(&str, &str)]) -> Response {
    let shown = Some(("authorization", authorization)).filter(|(_, text)| !text.is_empty());
    let headers: Vec<_> = shown.into_iter().chain(more.iter().copied()).collect();
    airlock.request(method, path, &headers).await
}

/// Everything that an answer says: its headers and its body.
async fn said(response: Response) -> String {
    let headers = format!("{:?}", response.headers());
    headers + &String::from_utf8_lossy(&response.bytes().await.unwrap())
}
