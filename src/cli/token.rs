//! `airlock token`: makes, shows and revokes tokens. A running server takes up a change at once.

use super::args::switch;
use super::table::table;
use super::{Outcome, ensure_existing, print, print_json, say};
use crate::access::{Label, Scope, Token, TokenListError};
use crate::config::{About, Config, Settings};
use crate::protocol::GENERAL;
use crate::tokens::{TokensError, TokensFile};
use anyhow::Context as _;
use fs_err as fs;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;

#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// One JSON document on standard output
    #[arg(long, global = true, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Default, clap::Subcommand)]
enum Action {
    /// Show them: never the tokens themselves, which are kept nowhere
    #[default]
    List,
    /// Make one, and print it once
    Add {
        /// What it is called here and in the log: letters, digits and -_.@+
        #[arg(value_name = "LABEL")]
        label: Label,
        /// When it ends: after a time (90d), at the end of a day in UTC (2030-01-31), or at a moment
        /// (2030-01-31T12:00:00Z) [default: never]
        #[arg(long, value_name = "TIME|DATE", value_parser = end)]
        expires: Option<Timestamp>,
        /// What it is good for: all, registry:NAME, registry:UUID, package:PATTERN, admin, metrics;
        /// repeat for more [default: all]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
    },
    /// Make one good for nothing
    Revoke {
        /// Which
        #[arg(value_name = "ID|LABEL")]
        which: String,
    },
}

impl TokenArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: TokenArgs) -> anyhow::Result<Outcome> {
    let file = TokensFile::new(config.tokens_file());
    let action = args.action.unwrap_or_default();
    if config.access.tokens_file.is_none() && !matches!(action, Action::Add { .. }) {
        ensure_existing(config)?;
    }
    match action {
        Action::List => list(config, &file),
        Action::Add { label, expires, scopes } => {
            let scopes = if scopes.is_empty() { vec![Scope::All] } else { scopes };
            add(config, &file, label, scopes, expires)
        }
        Action::Revoke { which } => {
            let Some(token) = file.revoke(&which).context("the tokens cannot be changed")? else {
                anyhow::bail!("there is no token {which:?}");
            };
            if config.json {
                print_json(&document(&token))?;
            } else {
                say(&format!("{} is revoked; a server that runs refuses it from now on", token.label));
            }
            Ok(Outcome::Complete)
        }
    }
}

fn add(
    config: &Config,
    file: &TokensFile,
    label: Label,
    scopes: Vec<Scope>,
    expires: Option<Timestamp>,
) -> anyhow::Result<Outcome> {
    let (token, secret) = match file.add(label, scopes, expires) {
        Err(TokensError::List(TokenListError::Twice(label))) => {
            anyhow::bail!("there is a token {label} already: revoke it first, or choose another label")
        }
        made => made.context("the token cannot be kept")?,
    };
    if config.json {
        let mut document = document(&token);
        document["token"] = secret.expose().into();
        print_json(&document)?;
    } else {
        print(&format!("{}\n", secret.expose()))?;
        say("This is shown once. For Julia it goes into servers/HOST_PORT/auth.toml of the first depot");
        say("(`airlock doctor` says which file): access_token = \"airlock_…\"");
        say("Julia sends it over https only; over plain http to localhost and 127.0.0.1 alone.");
    }
    if is_without_general(&token) {
        say(
            "It does not cover General: where every request needs a token, its clients see no General, and go to GitHub.",
        );
    }
    if let Some(uid) = other_owner(file)? {
        say(&format!(
            "warning: {} is yours, its folder belongs to user {uid}: a server that runs as that user cannot read it",
            file.path().display()
        ));
    }
    Ok(Outcome::Complete)
}

/// Whether its scopes are registries, and General is none of them.
fn is_without_general(token: &Token) -> bool {
    let mut registries = token.scopes.iter().filter_map(|scope| match scope {
        Scope::Registry(rule) => Some(&rule.about),
        _ => None,
    });
    let is_general = |about: &About| match about {
        About::Registry(uuid) => *uuid == GENERAL,
        About::RegistryName(pattern) => pattern.matches("General"),
        _ => false,
    };
    let others = token.scopes.iter().any(|scope| !matches!(scope, Scope::Registry(_) | Scope::Metrics));
    registries.clone().next().is_some() && !others && !registries.any(is_general)
}

/// The owner of the folder, if it is somebody else than that of the file: `sudo airlock token add`.
fn other_owner(file: &TokensFile) -> anyhow::Result<Option<u32>> {
    let Some(folder) = file.path().parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(None) };
    let (own, folder) = (fs::metadata(file.path())?.uid(), fs::metadata(folder)?.uid());
    Ok((own != folder).then_some(folder))
}

fn list(config: &Config, file: &TokensFile) -> anyhow::Result<Outcome> {
    let tokens = file.read().context("the tokens cannot be read")?;
    if config.json {
        print_json(&json!({ "tokens": tokens.iter().map(document).collect::<Vec<_>>() }))?;
        return Ok(Outcome::Complete);
    }
    let rows: Vec<_> = tokens.iter().map(row).collect();
    if rows.is_empty() {
        say("No tokens.");
        return Ok(Outcome::Complete);
    }
    print(&table(&["ID", "LABEL", "CREATED", "EXPIRES", "SCOPES"], &rows))?;
    Ok(Outcome::Complete)
}

fn row(token: &Token) -> Vec<String> {
    let short = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M").to_string();
    let expires = match token.expires {
        None => "never".to_owned(),
        Some(_) if token.is_expired(Timestamp::now()) => "expired".to_owned(),
        Some(expires) => short(expires),
    };
    vec![token.id.clone(), token.label.to_string(), short(token.created), expires, scopes(token).join(" ")]
}

fn scopes(token: &Token) -> Vec<String> {
    token.scopes.iter().map(ToString::to_string).collect()
}

/// Without the hash, which is of no use to anybody.
fn document(token: &Token) -> Value {
    json!({
        "id": token.id,
        "label": token.label,
        "created": token.created,
        "expires": token.expires,
        "expired": token.is_expired(Timestamp::now()),
        "scopes": token.scopes,
    })
}

/// Reads when a token ends: not before now, or it would never be good for anything.
fn end(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!("{text:?} is no time such as 90d, no date such as 2030-01-31, no moment such as 2030-01-31T12:00:00Z")
    };
    let now = Timestamp::now();
    // The parser of dates passes over a time that follows.
    let is_day = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let end = if let Ok(time) = humantime::parse_duration(text) {
        now.checked_add(time).map_err(|_| wrong())?
    } else if let Some(date) = is_day.then(|| text.parse::<Date>().ok()).flatten() {
        let next = date.tomorrow().map_err(|_| wrong())?;
        next.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp()
    } else {
        text.parse::<Timestamp>().map_err(|_| wrong())?
    };
    if end > now { Ok(end) } else { Err(format!("{text:?} is over already")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_a_day_or_a_moment() {
        let day = 86_400;
        let left = |text: &str| end(text).unwrap().as_second() - Timestamp::now().as_second();
        assert!((90 * day - 5..=90 * day).contains(&left("90d")));
        assert_eq!(end("2130-01-31").unwrap().to_string(), "2130-02-01T00:00:00Z", "the day belongs to it");
        assert_eq!(end("2130-01-31T12:00:00+02:00").unwrap().to_string(), "2130-01-31T10:00:00Z");
        for bad in ["", "soon", "2130-02-30", "0s", "-1d", "2001-01-01", "2130-01-31T12:00:00", "9999999999999y"] {
            assert!(end(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_sees_no_general_is_told() {
        let token = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
            Token::new(&[1; 32], "one".parse().unwrap(), scopes, Timestamp::UNIX_EPOCH, None).0
        };
        let general = format!("registry:{GENERAL}");
        for (scopes, without) in [
            (&["registry:Acme"][..], true),
            (&["registry:Acme", "metrics"], true),
            (&["registry:Acme", "registry:General"], false),
            (&["registry:Acme", &general], false),
            (&["registry:*"], false),
            (&["registry:Acme", "package:Acme*"], false),
            (&["all"], false),
            (&["metrics"], false),
        ] {
            assert_eq!(is_without_general(&token(scopes)), without, "{scopes:?}");
        }
    }
}
