//! What is seen of a server from outside: metrics, ids, what it says of itself, who fetched what.

mod alerts;
mod audit;
mod ids;
mod meta;
mod metrics;

use crate::support::Airlock;
use std::collections::BTreeMap;

/// The samples of an exposition, each with its labels as they are written.
#[derive(Debug)]
pub(crate) struct Samples(BTreeMap<String, String>);

impl Samples {
    /// Scrapes, and reads every line by the rules of the text format.
    pub(crate) async fn scrape(airlock: &Airlock) -> Self {
        let response = airlock.get("/metrics").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&response.text().await.unwrap())
    }

    /// These and those of another server.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::<&str, &str>::new());
        let (mut helped, mut family) = ("", "");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.len() > 5, "{line}");
                helped = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped, "a type without a help");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(families.insert(name, kind), None, "{name} is there twice");
                family = name;
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffixes: &[&str] =
                    if families[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{name} below {family}");
                value.parse::<f64>().unwrap();
                let known = samples.insert(series.to_owned(), value.to_owned());
                assert_eq!(known, None, "{series} is there twice");
            }
        }
        Self(samples)
    }

    /// The names, without labels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|series| series.split('{').next().unwrap())
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A whole number.
    pub(crate) fn get(&self, series: &str) -> u64 {
        self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0)).parse().unwrap()
    }

    /// What has been added since.
    pub(crate) fn since(&self, before: &Self, series: &str) -> u64 {
        self.get(series) - before.get(series)
    }
}
