//! What was chosen, for people: a table for each input, with a column for each Julia if they differ.

use super::super::table::{printable, table};
use crate::prewarm::{Report, SolvedReport};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The tables; standard libraries are left out, for they are not fetched.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut inputs: Vec<(&str, bool)> = Vec::new();
    for solved in &report.solved {
        if !inputs.contains(&(&solved.input, solved.tests)) {
            inputs.push((&solved.input, solved.tests));
        }
    }
    for (input, tests) in inputs {
        let solved: Vec<_> =
            report.solved.iter().filter(|it| (it.input.as_str(), it.tests) == (input, tests)).collect();
        text += &one(input, tests, &solved);
    }
    text
}

fn one(input: &str, tests: bool, solved: &[&SolvedReport]) -> String {
    let mut versions: BTreeMap<&str, Vec<BTreeSet<&str>>> = BTreeMap::new();
    for (column, solved) in solved.iter().enumerate() {
        for package in solved.packages.iter().filter(|package| package.tree.is_some()) {
            let row = versions.entry(&package.name).or_default();
            row.resize(column + 1, BTreeSet::new());
            if let Some(cell) = row.get_mut(column) {
                cell.extend(package.version.as_deref());
            }
        }
    }
    let julias: Vec<_> = solved.iter().map(|solved| solved.julia.as_str()).collect();
    let what = if tests { "the tests of " } else { "" };
    let mut text = printable(&format!("chosen for {what}{input}, Julia {}:", julias.join(", "))) + "\n";
    if versions.is_empty() {
        text += "nothing that is not part of Julia\n";
        return text;
    }
    let cell = |cell: Option<&BTreeSet<&str>>| {
        let versions = cell.map(|cell| cell.iter().copied().collect::<Vec<_>>().join(", ")).unwrap_or_default();
        if versions.is_empty() { "-".to_owned() } else { versions }
    };
    let all_same = versions.values().all(|row| (1..julias.len()).all(|column| row.get(column) == row.first()));
    let columns = if all_same { 1 } else { julias.len() };
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|(name, row)| {
            let cells = (0..columns).map(|column| cell(row.get(column)));
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    let headings: Vec<String> = if all_same {
        vec!["VERSION".to_owned()]
    } else {
        julias.iter().map(|julia| format!("JULIA {julia}")).collect()
    };
    let headings: Vec<&str> = std::iter::once("PACKAGE").chain(headings.iter().map(String::as_str)).collect();
    text += &table(&headings, &rows);
    for (julia, manifest) in solved.iter().filter_map(|it| Some((&it.julia, it.manifest.as_ref()?))) {
        let _ = writeln!(text, "wrote {} for Julia {julia}", printable(&manifest.display().to_string()));
    }
    text
}
