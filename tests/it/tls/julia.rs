//! Julia's own Pkg over TLS, with an authority that only the environment names.

use crate::authority::Authority;
use crate::binary::{run, stdout, wrapped};
use crate::julia_client::{julia, text};
use crate::support::{LONG, skip};
use std::path::{Path, PathBuf};
use std::process::Output;

const ADD: &str = r#"
    using Pkg
    Pkg.add(PackageSpec(name = "Greeting", version = "1.1.0"))
    using Greeting
    println("GREETING: ", Greeting.greet())
"#;

const GREETING: &str = "GREETING: Good evening from the other side of the gap.";

/// What Pkg says of a server that it cannot trust, or that does not let it in, before it tries
/// GitHub. Julia 1.5 does not say why; `airlock doctor` does.
const REFUSED: &str = "could not download https://localhost:8443/registries";

/// Variables that name authorities, of this process's own environment too.
const VARIABLES: [&str; 4] = ["JULIA_SSL_CA_ROOTS_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"];

/// A Julia, and a closed network in which an airlock serves the sample over TLS.
pub(crate) struct JuliaOverTls {
    julia: PathBuf,
    pub(crate) authority: Authority,
    folder: tempfile::TempDir,
    what: String,
}

impl JuliaOverTls {
    /// `None` where there is no Julia.
    pub(crate) fn new(what: &str) -> Option<Self> {
        let julia = julia(what)?;
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue("server", |_| {});
        crate::view::carry(
            &folder.path().join("cache"),
            &["General", "Greeting/1.1.0", "greeting-text-1", "Pebble/1.0.0", "Pebble/1.1.0"],
        );
        Some(Self { julia, authority, folder, what: what.to_owned() })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether Pkg of this Julia runs the `curl` of the machine: before 1.6, when `Downloads.jl` came.
    fn runs_curl(&self) -> bool {
        let version = std::process::Command::new(&self.julia).arg("--version").output().unwrap().stdout;
        String::from_utf8(version).unwrap().contains("version 1.5")
    }

    /// Lets Pkg add a package at `https://localhost:8443`, with an empty depot `depot` below the
    /// folder in which `prepare` may leave something, `servers/localhost:8443/auth.toml` (since 1.8:
    /// `localhost_8443`) for example. `section` is the server's configuration. `None` where this
    /// machine has no namespaces.
    pub(crate) async fn add(
        &self,
        section: &str,
        environment: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Option<Output> {
        let depot = self.folder().join("depot");
        let _ = fs_err::remove_dir_all(&depot);
        fs_err::create_dir_all(&depot).unwrap();
        prepare(&depot);
        fs_err::write(self.folder().join("airlock.toml"), section).unwrap();
        // Nothing but loopback: what Pkg tries outside when it is refused fails at once.
        let script = r#"
            ip link set lo up || exit 77
            "$0" serve --offline --view full --listen 127.0.0.1:8443 2> log &
            serving=$!
            trap 'kill $serving' EXIT
            until grep -q 'serving at https:' log; do kill -0 $serving || exit 20; done
            "$JULIA" --startup-file=no -e "$ADD"
        "#;
        let mut command = wrapped(self.folder(), &["unshare", "-n", "sh", "-c", script]);
        command.env("JULIA", &self.julia).env("ADD", ADD).env("HOME", self.folder());
        command.env("JULIA_DEPOT_PATH", &depot).env("JULIA_PKG_SERVER", "https://localhost:8443");
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        let output = tokio::time::timeout(LONG * 5, command.output()).await.unwrap().unwrap();
        if output.status.code() == Some(77) || text(&output).contains("unshare failed") {
            skip(&format!("namespaces: {}", self.what));
            return None;
        }
        Some(output)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pkg_adds_over_tls_when_it_is_told_of_the_authority_and_says_so_when_not() {
    let Some(setting) = JuliaOverTls::new("a real client over TLS") else { return };
    let ca = setting.authority.file("ca.pem").display().to_string();
    let section = setting.authority.section("server", "");
    let old = setting.runs_curl();
    for (variable, works) in [
        ("SSL_CERT_FILE", true),
        ("CURL_CA_BUNDLE", old),
        ("JULIA_SSL_CA_ROOTS_PATH", !old),
        ("NO_SUCH_VARIABLE", false),
    ] {
        let Some(output) = setting.add(&section, &[(variable, &ca)], |_| {}).await else { return };
        let said = text(&output);
        assert_eq!(output.status.success() && stdout(&output).contains(GREETING), works, "{variable}: {said}");
        assert!(works || said.contains(REFUSED), "{variable}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pkg_sends_its_token_over_tls_and_without_one_is_refused() {
    let Some(setting) = JuliaOverTls::new("a real client with a token over TLS") else { return };
    let ca = setting.authority.file("ca.pem").display().to_string();
    let section = format!("{}[access]\ntoken = 'required'\n", setting.authority.section("server", ""));
    let made = run(setting.folder(), &["token", "add", "laptop", "--cache", "cache"]).await;
    let token = stdout(&made).lines().find(|line| line.trim().starts_with("airlock_")).unwrap().trim().to_owned();
    for (token, works) in [(Some(token.as_str()), true), (Some("airlock_of_somebody_else"), false), (None, false)] {
        let prepare = |depot: &Path| {
            // Julia 1.8 and later write _ for the colon.
            for host in ["localhost:8443", "localhost_8443"] {
                let Some(token) = token else { return };
                let servers = depot.join("servers").join(host);
                fs_err::create_dir_all(&servers).unwrap();
                fs_err::write(servers.join("auth.toml"), format!("access_token = \"{token}\"\n")).unwrap();
            }
        };
        let Some(output) = setting.add(&section, &[("SSL_CERT_FILE", &ca)], prepare).await else { return };
        let said = text(&output);
        assert_eq!(output.status.success() && stdout(&output).contains(GREETING), works, "{token:?}: {said}");
        assert!(works || said.contains(REFUSED), "{token:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pkg_has_no_certificate_to_show_and_is_refused_where_one_is_required() {
    let Some(setting) = JuliaOverTls::new("a client certificate that no Julia has") else { return };
    let ca = setting.authority.file("ca.pem").display().to_string();
    for (demand, works) in [("required", false), ("optional", true)] {
        let more = format!("client-ca = '{ca}'\nclient-certificate = '{demand}'");
        let section = setting.authority.section("server", &more);
        let Some(output) = setting.add(&section, &[("SSL_CERT_FILE", &ca)], |_| {}).await else { return };
        let said = text(&output);
        assert_eq!(output.status.success() && stdout(&output).contains(GREETING), works, "{demand}: {said}");
        assert!(works || said.contains(REFUSED), "{demand}: {said}");
    }
}
