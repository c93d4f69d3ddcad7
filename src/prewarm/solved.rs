//! What was chosen, and what could not be, in the report.

use crate::closure::{Content, Input, Resolved, Solved, one_line};
use crate::protocol::{TreeHash, Uuid};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was chosen for names or a project, for one Julia.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SolvedReport {
    /// `--add`, or the path of a project.
    pub input: String,
    /// For which Julia.
    pub julia: String,
    /// It is what the tests of the project need.
    pub tests: bool,
    /// What was asked for, by name.
    pub roots: BTreeMap<String, Uuid>,
    /// All that was chosen, by name, standard libraries too.
    pub packages: Vec<SolvedPackage>,
    /// The manifest that was written.
    pub manifest: Option<PathBuf>,
}

/// A package that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SolvedPackage {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its version; some standard libraries have none.
    pub version: Option<String>,
    /// The tree of the version; `null` for what this Julia ships.
    pub tree: Option<TreeHash>,
}

/// What cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictReport {
    /// `--add`, `--all-versions`, `--registry-all`, or the path of a project.
    pub input: String,
    /// For which Julia, if it is for one.
    pub julia: Option<String>,
    /// In words.
    pub why: String,
}

/// What was chosen from the inputs.
pub(super) fn solved(inputs: &[Input]) -> Vec<SolvedReport> {
    let all = resolved(inputs);
    all.flat_map(|(input, resolved)| resolved.solved.iter().map(move |solved| report(input.clone(), solved))).collect()
}

/// What cannot be had.
pub(super) fn conflicts(inputs: &[Input]) -> Vec<ConflictReport> {
    let unsolved = resolved(inputs).flat_map(|(input, resolved)| {
        resolved.conflicts.iter().map(move |conflict| ConflictReport {
            input: input.clone(),
            julia: conflict.julia.as_ref().map(ToString::to_string),
            why: one_line(&conflict.why),
        })
    });
    let problems = inputs.iter().flat_map(|input| {
        let problems = match &input.content {
            Ok(Content::Versions(versions)) => versions.problems.as_slice(),
            _ => &[],
        };
        let input = input.path.display().to_string();
        problems.iter().map(move |why| ConflictReport { input: input.clone(), julia: None, why: one_line(why) })
    });
    unsolved.chain(problems).collect()
}

fn resolved(inputs: &[Input]) -> impl Iterator<Item = (String, &Resolved)> {
    inputs.iter().filter_map(|input| match &input.content {
        Ok(Content::Resolved(resolved)) => Some((input.path.display().to_string(), &**resolved)),
        _ => None,
    })
}

fn report(input: String, solved: &Solved) -> SolvedReport {
    let package = |(uuid, chosen): (&Uuid, &crate::resolve::Chosen)| SolvedPackage {
        name: chosen.name.clone(),
        uuid: *uuid,
        version: chosen.version.clone(),
        tree: chosen.tree,
    };
    let mut packages: Vec<_> = solved.packages.iter().map(package).collect();
    packages.sort_unstable();
    let (julia, tests, roots) = (solved.julia.to_string(), solved.is_test, solved.roots.clone());
    SolvedReport { input, julia, tests, roots, packages, manifest: None }
}
