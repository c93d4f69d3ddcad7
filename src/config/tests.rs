//! Which of several settings counts, and what is refused.

use super::*;

fn file(text: &str) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airlock.toml");
    fs_err::write(&path, text).unwrap();
    Settings::read(&path)
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let flags = Settings { cache: Some("flag".into()), ..Settings::default() };
    let config = Config::new(flags, file("cache = 'file'\njobs = 3\n").unwrap()).unwrap();
    assert_eq!((config.cache, config.jobs), (PathBuf::from("flag"), Some(3)));
    assert_eq!(config.upstreams.iter().map(|upstream| upstream.url.expose()).collect::<Vec<_>>(), [DEFAULT_UPSTREAM]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    for (text, line) in [
        ("[[upstream]]\nurl = 'h'\nconcurency = 3\n", 3),
        ("cache = 'c'\nchace = 'd'\n", 2),
        ("\n\n[mirror]\nsilense = '1s'\n", 4),
        ("a = = b", 1),
    ] {
        match file(text) {
            Err(ConfigError::Parse { line: found, message, .. }) => {
                assert_eq!(found, line, "{text}: {message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn upstreams_without_a_scheme_mean_https() {
    assert_eq!(upstream_url("pkg.example.org/").unwrap(), "https://pkg.example.org");
    assert_eq!(upstream_url("http://127.0.0.1:1/p//").unwrap(), "http://127.0.0.1:1/p");
    for bad in ["", "https://", "ftp://x", "http:///x", "a b", "http://x?y"] {
        assert!(upstream_url(bad).is_err(), "{bad}");
    }
}

#[test]
fn credentials_are_shown_to_nobody() {
    for (url, shown) in [
        ("https://user:word@host:1/p@q", "https://host:1/p@q"),
        ("http://token@host", "http://host"),
        ("http://a@b:c@host/", "http://host/"),
        ("user:word@host/p", "host/p"),
        ("https://host/p", "https://host/p"),
        ("", ""),
    ] {
        assert_eq!(without_credentials(url), shown, "{url}");
    }
    let error = upstream_url("ftp://user:word@host").unwrap_err();
    assert!(!error.to_string().contains("word"), "{error}");
}

#[test]
fn a_password_that_could_be_taken_for_a_path_is_refused_and_not_shown() {
    for url in [
        "https://me:hid/den@dmz.invalid",
        "http://me/hidden@dmz.invalid/p",
        "me:hid/den@dmz.invalid",
        "https://me:hid\\den@dmz.invalid",
        "https://me:hid/d?en@dmz.invalid",
    ] {
        let mut texts = vec![format!("upstream = ['{url}']"), format!("[server]\nurl = '{url}'")];
        texts.extend(url.contains("://").then(|| format!("[[registry]]\ngit = '{url}/R.git'")));
        for text in texts {
            let error = Config::new(Settings::default(), file(&text).unwrap()).unwrap_err().to_string();
            assert!(
                error.contains("dmz.invalid") && error.contains("%2F") && !error.contains("den"),
                "{text}: {error}"
            );
        }
    }
    for git in ["/srv/a@b/R.git", "file:///srv/a@b/R.git", "git@h:a/R.git", "ssh://git@h/R.git", "https://u:p%2Fq@h/R"]
    {
        let text = format!("[[registry]]\ngit = '{git}'");
        assert!(Config::new(Settings::default(), file(&text).unwrap()).is_ok(), "{git}");
    }
}

#[test]
fn upstreams_are_addresses_or_tables() {
    let text = "upstream = ['pkg.example.org']";
    let config = Config::new(Settings::default(), file(text).unwrap()).unwrap();
    let [upstream] = &config.upstreams[..] else { panic!("{config:?}") };
    assert_eq!((upstream.url.expose(), upstream.public), ("https://pkg.example.org", true));
    assert_eq!(upstream.idle_timeout, config.mirror.idle_timeout);
    let text = "[[upstream]]\nurl = 'http://a:1'\npublic = false\nidle-timeout = '1m'\ntoken-env = 'T'\n\
                client-certificate = 'c.pem'\nproxy = 'none'\n[[upstream]]\nurl = 'u:p@b'\n";
    let config = Config::new(Settings::default(), file(text).unwrap()).unwrap();
    let [a, b] = &config.upstreams[..] else { panic!("{config:?}") };
    assert_eq!((a.public, a.idle_timeout, &a.proxy), (false, Duration::from_mins(1), &Proxy::Direct));
    assert_eq!(a.token, Some(TokenFrom::Environment("T".to_owned())));
    assert_eq!(a.client_certificate, Some(("c.pem".into(), "c.pem".into())));
    assert_eq!((b.url.expose(), b.name.as_str()), ("https://u:p@b", "https://b"));
}

#[test]
fn a_proxy_is_an_address() {
    let proxy = |proxy: &str| {
        let text = format!("[[upstream]]\nurl = 'h'\nproxy = '{proxy}'\n");
        Config::new(Settings::default(), file(&text).unwrap()).map(|config| config.upstreams[0].proxy.clone())
    };
    for (text, url) in [("p:3128", "http://p:3128"), ("https://u:wo%2Frd@p:1/", "https://u:wo%2Frd@p:1")] {
        let Proxy::Url(found) = proxy(text).unwrap() else { panic!("{text}") };
        assert_eq!(found.expose(), url);
    }
    for bad in ["", "socks5://u:word@p:1", "http://", "http://u:word@:1", "http://p/path", "p q", "http://u:w/word@p"] {
        let error = proxy(bad).unwrap_err();
        assert!(matches!(error, ConfigError::Proxy(_)) && !error.to_string().contains("word"), "{bad}: {error}");
    }
}

#[test]
fn a_configuration_can_be_printed() {
    let text = "[[upstream]]\nurl = 'https://u:word@h'\nproxy = 'http://u:word@p'\n\
                [[registry]]\ngit = 'https://u:word@h/R.git'\n";
    let config = Config::new(Settings::default(), file(text).unwrap()).unwrap();
    assert!(!format!("{config:?}").contains("word"), "{config:?}");
}

#[test]
fn registries_are_repositories() {
    let text = "[[registry]]\ngit = 'https://me:word@git.example.org/R.git'\nbranch = 'main'\n";
    let config = Config::new(Settings::default(), file(text).unwrap()).unwrap();
    assert_eq!(config.registries[0].name, "https://git.example.org/R.git");
    let bad = file("[[registry]]\ngit = '--upload-pack=x'").unwrap();
    assert!(matches!(Config::new(Settings::default(), bad), Err(ConfigError::Registry(_))));
}

#[test]
fn bounds_that_cannot_work_are_refused() {
    for text in [
        "jobs = 0",
        "[mirror]\nsilence = '16s'",
        "[prewarm]\nattempts = 0",
        "[mirror]\nrescan-interval = '0s'",
        "[server]\nstall-timeout = '0s'",
        "[server]\nmax-connections = 0",
        "[tls]\nkey = 'k'",
        "[[upstream]]\nurl = 'h'\nidle-timeout = '0s'",
        "[[upstream]]\nurl = 'h'\nconcurrency = 0",
        "[[upstream]]\nurl = 'h'\nclient-key = 'k'",
        "[[upstream]]\nurl = 'h'\ntoken-file = 'f'\ntoken-env = 'E'",
        "[[upstream]]\nurl = 'https://u:p@h'\ntoken-env = 'E'",
    ] {
        assert!(matches!(Config::new(Settings::default(), file(text).unwrap()), Err(ConfigError::Bound(_))), "{text}");
    }
}
