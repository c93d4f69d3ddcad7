//! The alert rules and the dashboard name only what a server really says.

use super::Samples;
use crate::authority::Authority;
use crate::support::{Airlock, Scene, skip};
use airlock::protocol::{Resource, TreeHash};
use fs_err as fs;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs Prometheus' own tool, if it is here.
pub(super) fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return skip(&format!("promtool ({error}): {arguments:?}")),
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

fn ops(file: &str) -> String {
    fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ops").join(file)).unwrap()
}

/// A metric as an expression names it, with its matchers: label, operator, value.
#[derive(Debug, Default, PartialEq)]
struct Named {
    metric: String,
    matchers: Vec<(String, String, String)>,
}

/// What an expression of `PromQL` names: metrics, and the labels that it groups by.
fn names(expression: &str) -> (Vec<Named>, BTreeSet<String>) {
    let (mut metrics, mut groups) = (Vec::<Named>::new(), BTreeSet::new());
    let mut rest = expression;
    let mut in_group = false;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            match word {
                "by" | "without" | "on" | "ignoring" => in_group = true,
                "and" | "or" | "unless" | "offset" | "bool" => {}
                _ if in_group => _ = groups.insert(word.to_owned()),
                _ if rest.trim_start().starts_with('(') => {}
                // A function whose arguments come after its group.
                _ if ["by ", "without "].iter().any(|next| rest.trim_start().starts_with(next)) => {}
                _ => metrics.push(Named { metric: word.to_owned(), ..Named::default() }),
            }
            continue;
        }
        let skipped = match first {
            ')' if in_group => {
                in_group = false;
                1
            }
            '{' => {
                let end = rest.find('}').unwrap();
                metrics.last_mut().unwrap().matchers = rest[1..end].split(',').map(matcher).collect();
                end + 1
            }
            '[' => rest.find(']').unwrap() + 1,
            // A number, or a duration.
            c if c.is_ascii_digit() => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        rest = &rest[skipped..];
    }
    (metrics, groups)
}

fn matcher(text: &str) -> (String, String, String) {
    let start = text.find(['=', '!']).unwrap();
    let (label, rest) = text.split_at(start);
    let (operator, value) = rest.split_once('"').unwrap();
    (label.trim().to_owned(), operator.to_owned(), value.trim_end_matches('"').to_owned())
}

/// What stands in braces of a template: `{{ $labels.instance }}`, `{{instance}}`.
fn template_labels(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    inner.map(|(inner, _)| inner.trim().trim_start_matches("$labels."))
}

/// Fails unless each metric is there with these labels, and each label of a template or a group on one of them.
fn check(samples: &Samples, expression: &str, templates: &str) {
    // What Prometheus itself adds.
    let of_prometheus = |label: &str| ["instance", "job"].contains(&label);
    let (metrics, groups) = names(expression);
    assert!(!metrics.is_empty(), "{expression}");
    let mut labels = BTreeSet::new();
    for named in &metrics {
        let series: Vec<_> =
            samples.series().filter(|series| series.split('{').next() == Some(&named.metric)).collect();
        assert!(!series.is_empty() || named.metric == "up", "no {} for {expression}", named.metric);
        for (label, operator, value) in named.matchers.iter().filter(|(label, ..)| !of_prometheus(label)) {
            let wanted = if operator == "=" { format!("{label}=\"{value}\"") } else { format!("{label}=\"") };
            assert!(series.iter().any(|series| series.contains(&wanted)), "no {wanted} for {expression}");
        }
        labels.extend(series.iter().flat_map(|series| {
            let inner = series.split_once('{').map_or("", |(_, inner)| inner.trim_end_matches('}'));
            inner.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned())
        }));
    }
    for label in groups.iter().map(String::as_str).chain(template_labels(templates)) {
        assert!(of_prometheus(label) || labels.contains(label), "no label {label} for {expression}");
    }
}

/// A server that has done everything once.
async fn samples() -> Samples {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.configured("[view]\nshow = 'available'\n")).await;
    airlock.mirror.refresh_registries(crate::registries::PATIENCE).await;
    let package = crate::view::resource("Pebble/1.0.0").to_string();
    for path in [&package, &package, &package, &Resource::Artifact { tree: TreeHash::EMPTY }.to_string()] {
        airlock.get(path).await.bytes().await.unwrap();
    }
    airlock.mirror.rescan().await;
    let authority = Authority::new();
    authority.issue("server", |_| {});
    let secure = Airlock::quiet(&scene.configured(&authority.section("server", ""))).await;
    let text = crate::tls::get(&crate::tls::client(&authority, None), &secure, "/metrics").await.unwrap();
    Samples::scrape(&airlock).await.with(Samples::parse(&text))
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_name_what_is_there() {
    let (samples, rules) = (samples().await, ops("alerts.yml"));
    let mut checked = 0;
    for rule in rules.split("- alert: ").skip(1) {
        let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).unwrap();
        check(&samples, expression, rule);
        assert!(rule.contains("summary: ") && rule.contains("remedy: "), "{rule}");
        checked += 1;
    }
    assert!(checked >= 9, "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_names_what_is_there() {
    let samples = samples().await;
    let dashboard: serde_json::Value = serde_json::from_str(&ops("dashboard.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
            check(&samples, &expression, target["legendFormat"].as_str().unwrap());
        }
    }
    assert!(ids.len() >= 15);
    let query = dashboard["templating"]["list"][1]["query"].as_str().unwrap();
    assert!(query.contains("airlock_build_info"), "{query}");
}

#[test]
fn promtool_accepts_the_rules() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/alerts.yml");
    promtool(&["check", "rules", file.to_str().unwrap()], "");
}

#[test]
fn expressions_are_read_as_prometheus_reads_them() {
    let names_of = |text| names(text).0.into_iter().map(|named| named.metric).collect::<Vec<_>>();
    assert_eq!(names_of("time() - max by (instance) (a_b) > 3 * 86400"), ["a_b"]);
    assert_eq!(names_of("sum(rate(a{x=\"y\"}[5m] offset 1d)) / on (le) b or c"), ["a", "b", "c"]);
    let (metrics, groups) = names("histogram_quantile(0.5, sum by (le, t) (rate(a_bucket{t=~\"$t\", u!=\"v\"}[5m])))");
    let matchers = [("t", "=~", "$t"), ("u", "!=", "v")].map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(metrics, [Named { metric: "a_bucket".to_owned(), matchers: matchers.into() }]);
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["le", "t"]);
    assert_eq!(template_labels("{{ $labels.a }} and {{b}}").collect::<Vec<_>>(), ["a", "b"]);
}
