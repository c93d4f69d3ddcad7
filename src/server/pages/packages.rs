//! `/packages`: a package found by a part of its name (`?q=`), or all versions of one (`?name=`):
//! which of them are here, and what became of the others.

use super::visitor::Visitor;
use super::{LONGEST, Place, Shell, counted, encoded, package_href};
use crate::julia::stdlib;
use crate::mirror::{Catalogue, CataloguedPackage, CataloguedVersion, FirstOf, PackageSummary, Refusal, VersionState};
use crate::server::access::Caller;
use crate::server::routes::App;
use crate::store::StoreError;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;

/// Packages on the page.
const SHOWN: usize = 50;

/// What follows the `?` of the page's address.
#[derive(Debug, Default, serde::Deserialize)]
pub(in crate::server) struct Sought {
    q: Option<String>,
    name: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/packages.html", escape = "page")]
struct Packages {
    shell: Shell,
    query: String,
    problem: Option<&'static str>,
    found: Option<Findings>,
    /// The name in the form to ask for one.
    ask: Option<String>,
}

#[derive(Default)]
struct Findings {
    title: String,
    caption: String,
    nothing: String,
    rows: Vec<SummaryRow>,
    rest: usize,
    near: Vec<Near>,
}

struct Near {
    name: String,
    href: String,
}

struct SummaryRow {
    name: String,
    href: String,
    registry: String,
    versions: usize,
    here: usize,
    newest_here: String,
    newest: String,
}

#[derive(Template)]
#[template(path = "pages/package.html", escape = "page")]
struct Package {
    shell: Shell,
    name: String,
    packages: Vec<PackageRow>,
    ask: String,
}

struct PackageRow {
    name: String,
    uuid: String,
    registry: String,
    summary: String,
    is_private: bool,
    versions: Vec<VersionRow>,
    rest: usize,
}

struct VersionRow {
    version: String,
    is_yanked: bool,
    word: &'static str,
    colour: &'static str,
    /// What to type for it.
    add: Option<String>,
    means: String,
}

/// `/packages`
pub(in crate::server) async fn packages(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<Sought>, QueryRejection>,
) -> Response {
    // An address that makes no sense shows the page all the same.
    let Query(sought) = query.unwrap_or_default();
    let visitor = Visitor::new(&app, caller);
    let name = sought.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    match name {
        Some(name) => one(&visitor, name.to_owned()).await,
        None => super::page(search(&visitor, sought.q.unwrap_or_default().trim()).await),
    }
}

async fn one(visitor: &Visitor, name: String) -> Response {
    let is_offline = visitor.is_offline();
    let wanted = name.clone();
    match visitor.look_up(move |catalogue| catalogue.named(&wanted)).await {
        Err(refused) => super::page(Err::<Package, _>(refused)),
        Ok(packages) if packages.is_empty() => match unknown(visitor, cut(&name)).await {
            Ok(page) => super::with_status(StatusCode::NOT_FOUND, &page),
            Err(refused) => super::page(Err::<Packages, _>(refused)),
        },
        Ok(packages) => super::page(Ok(Package {
            shell: Shell::new(name.clone(), Place::Packages),
            packages: packages.into_iter().map(|package| package_row(package, is_offline)).collect(),
            ask: name.clone(),
            name,
        })),
    }
}

/// What there is to say of a name that is in no registry.
async fn unknown(visitor: &Visitor, name: String) -> Result<Packages, Refusal> {
    let wanted = name.clone();
    let (near, problem) = visitor.look_up(move |it| Ok((near(it, &wanted), problem(it)))).await?;
    let title = format!("No registry here has a package {name}");
    let nothing = nothing(&name);
    Ok(Packages {
        shell: Shell::new(title.clone(), Place::Packages),
        query: name.clone(),
        problem,
        found: Some(Findings { title, nothing, near, ..Findings::default() }),
        ask: Some(name),
    })
}

async fn search(visitor: &Visitor, query: &str) -> Result<Packages, Refusal> {
    let shell = Shell::new("Packages", Place::Packages);
    if query.chars().count() > LONGEST {
        let problem = Some("No package has so long a name: it has at most 100 letters.");
        return Ok(Packages { shell, query: cut(query), problem, found: None, ask: None });
    }
    let wanted = query.to_owned();
    let (found, problem) = visitor.look_up(move |it| Ok((findings(it, &wanted)?, problem(it)))).await?;
    let ask = found.rows.is_empty().then(|| query.to_owned());
    Ok(Packages { shell, query: query.to_owned(), problem, found: Some(found), ask })
}

fn findings(catalogue: &Catalogue<'_>, query: &str) -> Result<Findings, StoreError> {
    if query.is_empty() {
        let FirstOf { first, rest } = catalogue.here(SHOWN)?;
        return Ok(Findings {
            title: "Here now".to_owned(),
            caption: format!("{} with a version here, by name", counted(first.len() + rest, "package")),
            nothing: "No package is here yet.".to_owned(),
            rows: first.into_iter().map(summary_row).collect(),
            rest,
            near: Vec::new(),
        });
    }
    let FirstOf { first, rest } = catalogue.search(query, SHOWN)?;
    let near = if first.is_empty() { near(catalogue, query) } else { Vec::new() };
    Ok(Findings {
        title: format!("Found for “{query}”"),
        caption: format!("{}, first those that begin with it", counted(first.len() + rest, "package")),
        nothing: nothing(query),
        rows: first.into_iter().map(summary_row).collect(),
        rest,
        near,
    })
}

/// What there is to say where nothing was found.
fn nothing(name: &str) -> String {
    if stdlib::is_name(name) {
        format!("{name} is part of Julia, there is nothing to bring: using {name}")
    } else {
        "No registry here has a package of such a name; a newer registry outside may.".to_owned()
    }
}

/// Why there may be less than there should be.
fn problem(catalogue: &Catalogue<'_>) -> Option<&'static str> {
    let says = "No registry has been read here. Either there is none yet, which the overview says, or it is being read just now: then look again in a moment.";
    catalogue.is_empty().then_some(says)
}

fn near(catalogue: &Catalogue<'_>, name: &str) -> Vec<Near> {
    catalogue.near(name).into_iter().map(|name| Near { href: package_href(&name), name }).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn summary_row(package: PackageSummary) -> SummaryRow {
    SummaryRow {
        href: format!("packages?name={}", encoded(&package.name)),
        name: package.name,
        registry: package.registry,
        versions: package.versions,
        here: package.here,
        newest_here: package.newest_here.unwrap_or_else(|| "none".to_owned()),
        newest: package.newest.unwrap_or_else(|| "none".to_owned()),
    }
}

fn package_row(package: CataloguedPackage, is_offline: bool) -> PackageRow {
    let FirstOf { first, rest } = package.versions;
    let here = first.iter().filter(|version| version.state == VersionState::Here).count();
    let name = package.name;
    PackageRow {
        uuid: package.uuid.to_string(),
        registry: package.registry,
        summary: format!("{here} of {} can be installed from here.", counted(first.len() + rest, "version")),
        is_private: package.is_private,
        versions: first.into_iter().map(|version| version_row(&name, version, is_offline)).collect(),
        rest,
        name,
    }
}

fn version_row(name: &str, version: CataloguedVersion, is_offline: bool) -> VersionRow {
    let (word, colour, means) = match &version.state {
        VersionState::Here => ("here", "good", String::new()),
        VersionState::Incomplete(missing) => (
            "not whole",
            "wait",
            format!("It is here without {} that it needs. Ask for it.", counted(*missing, "artifact")),
        ),
        VersionState::Unverified => {
            ("not verified", "wait", "A file is here; it is verified before its first use.".to_owned())
        }
        VersionState::Young(age) => {
            ("too young", "wait", format!("The policy of this mirror lets versions wait. It is {age}."))
        }
        VersionState::Denied => {
            ("denied", "bad", "The policy of this mirror denies it; its administrator can change that.".to_owned())
        }
        VersionState::Absent if is_offline => ("not here", "bad", "Ask for it, so that it is brought here.".to_owned()),
        VersionState::Absent => ("not here", "bad", "It is fetched when a client asks for it.".to_owned()),
    };
    let add = (version.state == VersionState::Here).then(|| format!("] add {name}@{}", version.version));
    VersionRow { version: version.version, is_yanked: version.yanked, word, colour, add, means }
}
