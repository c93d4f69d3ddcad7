//! Which proxy a client would use, as libcurl decides it from the environment.

use super::check::{Findings, quoted, shell_word};
use super::environment::Environment;
use super::server_url::ServerUrl;
use crate::config::without_credentials;

/// The proxy for a host: the variable that names it, and its address.
pub(super) fn proxy<'e>(environment: &'e Environment, https: bool, host: &str) -> Option<(&'static str, &'e str)> {
    if is_direct(environment.no_proxy.as_deref().unwrap_or_default(), host) {
        return None;
    }
    let of_scheme =
        if https { ("https_proxy", &environment.https_proxy) } else { ("http_proxy", &environment.http_proxy) };
    // An empty variable is as good as none, and does not hide `all_proxy`.
    let candidates = [of_scheme, ("all_proxy", &environment.all_proxy)];
    candidates.into_iter().find_map(|(name, value)| Some((name, value.as_deref().filter(|url| !url.is_empty())?)))
}

/// Host and port of a proxy's address; libcurl's default port is 1080.
pub(super) fn address(proxy: &str) -> Option<(String, u16)> {
    let url = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let parsed = reqwest::Url::parse(&url).ok()?;
    let host = parsed.host_str()?.trim_matches(['[', ']']).to_owned();
    // The parser drops the port that is the default of the scheme, but not the one of a proxy.
    let written = url.split("://").nth(1)?.split('/').next()?.rsplit(':').next()?.parse().ok();
    Some((host, parsed.port().or(written).unwrap_or(1080)))
}

/// Whether `no_proxy` names the host: `*` alone is all, an entry is a host with all below it
/// (libcurl, `noproxy.c`). Ranges of addresses (`10.0.0.0/8`) are only known to libcurl since
/// 7.86, so they do not count here.
fn is_direct(no_proxy: &str, host: &str) -> bool {
    if no_proxy.trim() == "*" {
        return true;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let entries = no_proxy.split([',', ' ', '\t']).map(|entry| entry.trim_matches('.').to_ascii_lowercase());
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.trim_matches(['[', ']']);
        host == entry || host.strip_suffix(entry).is_some_and(|above| above.ends_with('.'))
    })
}

/// The line that lets clients reach the server without a proxy, with what is in `no_proxy` now.
pub(super) fn no_proxy_line(environment: &Environment, server: &ServerUrl) -> String {
    let now = environment.no_proxy.as_deref().unwrap_or_default().trim().trim_end_matches(',');
    let list = match now {
        _ if is_direct(now, server.host()) => now.to_owned(),
        "" => server.host().to_owned(),
        now => format!("{now},{}", server.host()),
    };
    format!("export no_proxy={}", shell_word(&list))
}

pub(super) fn examine(findings: &mut Findings, environment: &Environment, server: &ServerUrl) {
    let Some((name, url)) = proxy(environment, server.is_https(), server.host()) else {
        let set = [&environment.http_proxy, &environment.https_proxy, &environment.all_proxy];
        if set.into_iter().flatten().any(|url| !url.is_empty()) {
            findings.ok("proxy", &format!("{} is asked without one", server.host()));
        }
        return;
    };
    let line = no_proxy_line(environment, server);
    findings.export(&line);
    let url = quoted(&without_credentials(url));
    let detail = format!(
        "{name} is {url} and no_proxy does not name {}: Julia asks the server through that proxy",
        server.host()
    );
    findings.warning("proxy", &detail, &[line]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(http: &str, all: &str, no: &str) -> Environment {
        let some = |text: &str| Some(text.to_owned());
        Environment { http_proxy: some(http), all_proxy: some(all), no_proxy: some(no), ..Environment::default() }
    }

    #[test]
    fn a_host_is_direct_as_libcurl_says() {
        for (no_proxy, host, direct) in [
            ("", "h", false),
            ("*", "h", true),
            ("a, .Example.org", "pkg.example.org", true),
            ("example.org", "example.org.", true),
            ("example.org", "badexample.org", false),
            ("pkg.example.org", "example.org", false),
            ("10.0.0.0/8", "10.1.1.1", false),
            ("[::1] x", "::1", true),
            (",,", "h", false),
        ] {
            assert_eq!(is_direct(no_proxy, host), direct, "{no_proxy:?} {host}");
        }
    }

    #[test]
    fn the_variable_of_the_scheme_comes_first_and_an_empty_one_is_none() {
        assert_eq!(proxy(&with("p:1", "q:2", ""), false, "h"), Some(("http_proxy", "p:1")));
        assert_eq!(proxy(&with("p:1", "q:2", ""), true, "h"), Some(("all_proxy", "q:2")));
        assert_eq!(proxy(&with("", "", ""), false, "h"), None);
        assert_eq!(proxy(&with("p:1", "", "h"), false, "h"), None);
        for (url, address_) in [
            ("p:1", Some(("p", 1))),
            ("http://u:w@p:80/", Some(("p", 80))),
            ("p", Some(("p", 1080))),
            ("http://[::1]:9", Some(("::1", 9))),
            ("://", None),
        ] {
            assert_eq!(address(url).as_ref().map(|(host, port)| (host.as_str(), *port)), address_, "{url}");
        }
    }

    #[test]
    fn the_line_keeps_what_was_there_and_hides_passwords() {
        let server: ServerUrl = "http://pkg.local:8000".parse().unwrap();
        let mut findings = Findings::default();
        examine(&mut findings, &with("http://u:word@p:1", "", "a,b"), &server);
        let report = findings.report(None);
        assert_eq!(report.export, ["export no_proxy=a,b,pkg.local"]);
        assert!(report.ok && !format!("{report:?}").contains("word"), "{report:?}");
        assert_eq!(no_proxy_line(&with("", "", "*"), &server), "export no_proxy='*'");
    }
}
