//! What inspect and import show alike.

use super::super::table::{printable, table};
use crate::bundle::{Problem, ProblemKind, Signature, VolumeState};
use std::fmt::Write as _;

/// Whose signature it is, in words.
pub(super) fn signature(signature: Signature) -> String {
    match signature {
        Signature::Trusted { key } => format!("signed with key {key}, which is trusted"),
        Signature::Unchecked { key } => format!("signed, as it says, with key {key}; nobody checked that"),
        Signature::Unsigned => "not signed".to_owned(),
        Signature::Missing => "not signed, and it must be".to_owned(),
        Signature::Unknown { key } => format!("signed with key {key}, which is not trusted"),
        Signature::Bad => "its signature is not of its bundle.json".to_owned(),
    }
}

/// The volumes, one a line.
pub(super) fn volumes(volumes: &[VolumeState]) -> String {
    let mut text = String::new();
    for volume in volumes {
        let file = volume.file.as_ref().map_or_else(|| "not given".to_owned(), |file| file.display().to_string());
        let oddity = volume.oddity.map_or_else(String::new, |oddity| format!(" ({oddity})"));
        let _ = writeln!(text, "  volume {}, {}: {}{oddity}", volume.number, volume.name, printable(&file));
    }
    text
}

/// The resources that are damaged, one a line. Those of absent volumes are counted elsewhere.
pub(super) fn damage(problems: &[Problem]) -> String {
    let word = |kind| match kind {
        ProblemKind::Lacking => "lacking",
        ProblemKind::Damaged => "damaged",
        ProblemKind::Wrong => "wrong",
    };
    let damaged = problems.iter().filter(|problem| problem.kind != ProblemKind::Lacking);
    let rows: Vec<_> = damaged
        .map(|problem| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                word(problem.kind).to_owned(),
                or_dash(&problem.name),
                or_dash(&problem.version),
                problem.volume_name.clone(),
                problem.resource.to_string(),
                problem.why.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["STATUS", "NAME", "VERSION", "VOLUME", "RESOURCE", "WHY"], &rows)
    }
}
