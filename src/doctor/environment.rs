//! The environment variables that Pkg, libcurl and Julia's loader read, and what they make of them.

use super::check::{Findings, quoted, shell_word};
use super::server_url::ServerUrl;
use crate::config::DEFAULT_UPSTREAM;
use std::path::{Path, PathBuf};

/// What Julia would read. `None` is unset, which often differs from empty.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `JULIA_PKG_SERVER`
    pub pkg_server: Option<String>,
    /// `JULIA_PKG_SERVER_REGISTRY_PREFERENCE`
    pub registry_preference: Option<String>,
    /// `JULIA_DEPOT_PATH`
    pub depot_path: Option<String>,
    /// `JULIA_PKG_OFFLINE`
    pub pkg_offline: Option<String>,
    /// `JULIA_PKG_UNPACK_REGISTRY`
    pub unpack_registry: Option<String>,
    /// `JULIA_PKG_USE_CLI_GIT`
    pub use_cli_git: Option<String>,
    /// `JULIA_SSL_CA_ROOTS_PATH`
    pub ca_roots_path: Option<String>,
    /// `SSL_CERT_FILE`
    pub ssl_cert_file: Option<String>,
    /// `JULIA_NO_VERIFY_HOSTS`
    pub no_verify_hosts: Option<String>,
    /// `http_proxy`; libcurl does not read the name in capitals.
    pub http_proxy: Option<String>,
    /// `https_proxy`, else `HTTPS_PROXY`
    pub https_proxy: Option<String>,
    /// `all_proxy`, else `ALL_PROXY`
    pub all_proxy: Option<String>,
    /// `no_proxy`, else `NO_PROXY`
    pub no_proxy: Option<String>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// Asks `variable` for each of them by name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            pkg_server: variable("JULIA_PKG_SERVER"),
            registry_preference: variable("JULIA_PKG_SERVER_REGISTRY_PREFERENCE"),
            depot_path: variable("JULIA_DEPOT_PATH"),
            pkg_offline: variable("JULIA_PKG_OFFLINE"),
            unpack_registry: variable("JULIA_PKG_UNPACK_REGISTRY"),
            use_cli_git: variable("JULIA_PKG_USE_CLI_GIT"),
            ca_roots_path: variable("JULIA_SSL_CA_ROOTS_PATH"),
            ssl_cert_file: variable("SSL_CERT_FILE"),
            no_verify_hosts: variable("JULIA_NO_VERIFY_HOSTS"),
            http_proxy: variable("http_proxy"),
            https_proxy: variable("https_proxy").or_else(|| variable("HTTPS_PROXY")),
            all_proxy: variable("all_proxy").or_else(|| variable("ALL_PROXY")),
            no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")),
            home: variable("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        }
    }

    /// Whether Julia since 1.7 keeps registries as they come, in one file.
    pub(super) fn reads_packed_registries(&self) -> bool {
        !is_true(self.unpack_registry.as_deref()) && self.pkg_server.as_deref() != Some("")
    }

    /// The file or folder of certificates that replaces the system's. An empty
    /// `JULIA_SSL_CA_ROOTS_PATH` means the system's, whatever else is set (`NetworkOptions.jl`,
    /// `ca_roots`).
    pub(super) fn certificates(&self) -> Option<(&'static str, &Path)> {
        let named = self.ca_roots_path.as_ref().map(|path| ("JULIA_SSL_CA_ROOTS_PATH", path));
        let (name, path) = named.or_else(|| self.ssl_cert_file.as_ref().map(|path| ("SSL_CERT_FILE", path)))?;
        (!path.is_empty()).then(|| (name, Path::new(path)))
    }

    /// Whether Julia does not look at the certificate of this host.
    pub(super) fn skips_verification(&self, host: &str) -> bool {
        let hosts = self.no_verify_hosts.as_deref().unwrap_or_default();
        hosts.split(',').map(str::trim).any(|pattern| pattern == host || pattern == "**")
    }
}

/// As `Base.get_bool_env` reads it.
fn is_true(value: Option<&str>) -> bool {
    value.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "t" | "yes" | "y" | "1"))
}

const SERVER: &str = "JULIA_PKG_SERVER";

/// Which server is examined: the one that was named, else the one that Julia uses.
pub(super) fn server(
    findings: &mut Findings,
    environment: &Environment,
    named: Option<ServerUrl>,
) -> Option<ServerUrl> {
    let set = environment.pkg_server.as_deref();
    let line = |server: &str| format!("export JULIA_PKG_SERVER={}", shell_word(server));
    let example = "export JULIA_PKG_SERVER=http://the-server:8000   # your server's address".to_owned();
    let used = set.filter(|text| !text.is_empty()).map(str::parse::<ServerUrl>);
    if let Some(named) = named {
        let line = line(&named.to_string());
        match used {
            Some(Ok(used)) if used == named => findings.ok(SERVER, &format!("is {used}")),
            _ => {
                findings.export(&line);
                let now = match (set, used) {
                    (None, _) => format!("is not set, so Julia asks {DEFAULT_UPSTREAM} and not {named}"),
                    (Some(""), _) => format!("is empty, so Julia asks no package server, and not {named}"),
                    (_, Some(Ok(used))) => format!("is {used}, so Julia does not ask {named}"),
                    _ => format!("is no address, so Julia does not ask {named}"),
                };
                findings.problem(SERVER, &now, &[line]);
            }
        }
        return Some(named);
    }
    match (set, used) {
        (None, _) => {
            let detail = format!("is not set: Julia asks {DEFAULT_UPSTREAM} (Julia 1.4: no package server at all)");
            findings.warning(SERVER, &detail, &[example]);
            DEFAULT_UPSTREAM.parse().ok()
        }
        (Some(_), Some(Ok(used))) => {
            let bare = set.is_some_and(|text| !text.contains("://"));
            let scheme = if bare { ": it has no scheme, which means https://" } else { "" };
            findings.ok(SERVER, &format!("is {used}{scheme}"));
            Some(used)
        }
        (Some(""), _) => {
            let detail = "is empty: Julia asks no package server, clones registries by git and takes packages from GitHub (Julia 1.4 makes the address https:// of it)";
            findings.problem(SERVER, detail, &[example]);
            None
        }
        (Some(text), _) if text.starts_with("file://") => {
            findings.skipped(SERVER, "is a file:// address, which Julia can read and this examination cannot");
            None
        }
        (Some(text), _) => {
            let detail = format!(
                "is {}, which is no address of a package server",
                quoted(&crate::config::without_credentials(text))
            );
            findings.problem(SERVER, &detail, &[example]);
            None
        }
    }
}

/// The other variables of Pkg, and those for TLS.
pub(super) fn examine(findings: &mut Findings, environment: &Environment) {
    if let Some(flavor) = environment.registry_preference.as_deref().filter(|text| !text.trim().is_empty()) {
        let name = "JULIA_PKG_SERVER_REGISTRY_PREFERENCE";
        if matches!(flavor, "eager" | "conservative") {
            findings.ok(name, &format!("is {flavor}"));
        } else {
            let line = "unset JULIA_PKG_SERVER_REGISTRY_PREFERENCE".to_owned();
            findings.export(&line);
            let detail =
                format!("is {}: servers know eager and conservative, and may answer 404 to all else", quoted(flavor));
            findings.warning(name, &detail, &[line]);
        }
    }
    if is_true(environment.pkg_offline.as_deref()) {
        let line = "unset JULIA_PKG_OFFLINE".to_owned();
        findings.export(&line);
        let detail = "is on: Julia updates no registry and adds only versions that are installed already; a package server inside makes it needless";
        findings.warning("JULIA_PKG_OFFLINE", detail, &[line]);
    }
    if is_true(environment.unpack_registry.as_deref()) {
        findings.ok(
            "JULIA_PKG_UNPACK_REGISTRY",
            "is on: registries are unpacked into many small files, which is slower but right",
        );
    }
    if is_true(environment.use_cli_git.as_deref()) {
        findings.ok("JULIA_PKG_USE_CLI_GIT", "is on: Julia runs the git command for what comes from git");
    }
    if let Some((name, path)) = environment.certificates() {
        if path.exists() {
            findings.ok(name, &format!("certificates come from {}", path.display()));
        } else {
            let line = format!("unset {name}");
            findings.export(&line);
            findings.problem(
                name,
                &format!("names {}, which is not there: every https connection fails", path.display()),
                &[line],
            );
        }
    }
    if environment.no_verify_hosts.as_deref().is_some_and(|hosts| !hosts.is_empty()) {
        let detail =
            "is set: Julia does not verify who these hosts are; better is to name the certificate of your authority";
        let remedy =
            ["unset JULIA_NO_VERIFY_HOSTS", "export JULIA_SSL_CA_ROOTS_PATH=/path/to/ca.pem"].map(str::to_owned);
        findings.warning("JULIA_NO_VERIFY_HOSTS", detail, &remedy);
    }
}

/// The depots, the one that Julia writes to first.
pub(super) fn depots(findings: &mut Findings, environment: &Environment) -> Vec<PathBuf> {
    const NAME: &str = "JULIA_DEPOT_PATH";
    let user = environment.home.as_ref().map(|home| home.join(".julia"));
    let Some(text) = environment.depot_path.as_deref() else {
        return user.into_iter().collect();
    };
    if text.is_empty() {
        let line = "unset JULIA_DEPOT_PATH".to_owned();
        findings.export(&line);
        findings.problem(NAME, "is empty: Julia has no depot at all and can install nothing", &[line]);
        return Vec::new();
    }
    let mut depots = Vec::new();
    for entry in text.split(':') {
        let depot = match (entry.strip_prefix('~'), &environment.home) {
            _ if entry.is_empty() => user.clone(),
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                Some(home.join(rest.trim_start_matches('/')))
            }
            _ => Some(PathBuf::from(entry)),
        };
        depots.extend(depot.filter(|depot| !depots.contains(depot)));
    }
    let shown: Vec<_> = depots.iter().map(|depot| depot.display().to_string()).collect();
    let mut detail = format!("the depots are {}", shown.join(", "));
    if text.split(':').any(str::is_empty) && !text.split(':').all(str::is_empty) {
        detail += "; its empty entry is the user's depot and Julia's own, since Julia 1.11 only the latter";
    }
    findings.ok(NAME, &detail);
    depots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn environment(pkg_server: Option<&str>, depot_path: Option<&str>) -> Environment {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let home = Some(PathBuf::from("/home/u"));
        Environment { pkg_server: text(pkg_server), depot_path: text(depot_path), home, ..Environment::default() }
    }

    #[test]
    fn the_server_is_what_julia_makes_of_the_variable() {
        for (set, expected, status) in [
            (None, Some("https://pkg.julialang.org"), Status::Warning),
            (Some(""), None, Status::Problem),
            (Some("h:8000/"), Some("https://h:8000"), Status::Ok),
            (Some("http://h//"), Some("http://h"), Status::Ok),
            (Some("ftp://h"), None, Status::Problem),
            (Some("file:///srv/julia"), None, Status::Skipped),
        ] {
            let mut findings = Findings::default();
            let server = server(&mut findings, &environment(set, None), None).map(|server| server.to_string());
            assert_eq!((server.as_deref(), findings.report(None).checks[0].status), (expected, status), "{set:?}");
        }
    }

    #[test]
    fn a_server_that_julia_does_not_ask_is_exported() {
        for (set, lines) in
            [(None, 1), (Some(""), 1), (Some("http://other"), 1), (Some("h"), 1), (Some("http://h/"), 0)]
        {
            let mut findings = Findings::default();
            server(&mut findings, &environment(set, None), Some("http://h".parse().unwrap()));
            let report = findings.report(None);
            assert_eq!((report.export.len(), report.ok), (lines, lines == 0), "{set:?}: {report:?}");
            assert!(report.export.iter().all(|line| line == "export JULIA_PKG_SERVER=http://h"));
        }
    }

    #[test]
    fn depots_are_a_list_with_defaults() {
        for (set, expected) in [
            (None, &["/home/u/.julia"][..]),
            (Some(""), &[]),
            (Some(":"), &["/home/u/.julia"]),
            (Some("/d:"), &["/d", "/home/u/.julia"]),
            (Some("~/x:~:/d:/d"), &["/home/u/x", "/home/u", "/d"]),
            (Some("~other"), &["~other"]),
        ] {
            let mut findings = Findings::default();
            let found = depots(&mut findings, &environment(None, set));
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{set:?}");
            assert_eq!(findings.report(None).ok, set != Some(""));
        }
    }

    #[test]
    fn only_what_is_set_is_spoken_of() {
        let mut findings = Findings::default();
        examine(&mut findings, &Environment::default());
        assert!(findings.report(None).checks.is_empty());
        let all = Environment::read(|name| Some(if name == "JULIA_PKG_OFFLINE" { "True".into() } else { "x".into() }));
        let mut findings = Findings::default();
        examine(&mut findings, &all);
        let names: Vec<_> = findings.report(None).checks.iter().map(|check| (check.name, check.status)).collect();
        assert_eq!(
            names,
            [
                ("JULIA_PKG_SERVER_REGISTRY_PREFERENCE", Status::Warning),
                ("JULIA_PKG_OFFLINE", Status::Warning),
                ("JULIA_SSL_CA_ROOTS_PATH", Status::Problem),
                ("JULIA_NO_VERIFY_HOSTS", Status::Warning),
            ]
        );
    }
}
