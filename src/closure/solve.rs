//! Names and projects become exact versions: what Pkg would choose in an empty environment, for
//! each Julia by itself.

use super::needs::Needs;
use super::project_input::ProjectInput;
use super::registries::Registries;
use super::{Asked, Content, Input, InputError, Unmirrorable, WantedPackage};
use crate::julia::{JuliaTarget, PackageDeps, RegisteredVersion, Version, VersionRange, stdlib};
use crate::protocol::{Resource, Uuid};
use crate::resolve::{Chosen, Question, Root, Solution, solve};
use std::collections::{BTreeMap, BTreeSet};

/// Why a version may not be chosen, if a policy says so.
pub type Forbids<'f> = dyn Fn(Uuid, &RegisteredVersion<'_>) -> Option<String> + 'f;

/// Chooses versions.
pub struct Solver<'s> {
    /// From these registries.
    pub registries: &'s Registries,
    /// For each of these.
    pub julias: &'s [JuliaTarget],
    /// Whether the test dependencies of projects are wanted.
    pub tests: bool,
    /// What must not be chosen.
    pub forbids: &'s Forbids<'s>,
    /// Whether nobody waits for the answer any more.
    pub stopped: &'s dyn Fn() -> bool,
}

/// What names or a project come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What was asked for: the names, or the project's own.
    pub asked: Vec<String>,
    /// For each Julia that there is a solution for.
    pub solved: Vec<Solved>,
    /// For each that there is none for.
    pub conflicts: Vec<Unsolved>,
    /// What somebody should know, a line each.
    pub notes: BTreeSet<String>,
    /// Dependencies that no package server can give.
    pub unmirrorable: BTreeSet<Unmirrorable>,
    /// Dependencies in folders.
    pub local_paths: BTreeSet<Uuid>,
}

/// A solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solved {
    /// For which Julia.
    pub julia: JuliaTarget,
    /// What was asked for, by name.
    pub roots: BTreeMap<String, Uuid>,
    /// All that was chosen, standard libraries too.
    pub packages: BTreeMap<Uuid, Chosen>,
    /// It is what the tests of a project need.
    pub is_test: bool,
}

/// No solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsolved {
    /// For which Julia, if it is for one.
    pub julia: Option<JuliaTarget>,
    /// In words.
    pub why: String,
}

impl Solved {
    /// The packages that are fetched: those that this Julia does not ship.
    pub fn wanted(&self) -> impl Iterator<Item = (Resource, WantedPackage)> {
        self.packages.iter().filter_map(|(&uuid, chosen)| {
            let wanted = WantedPackage { name: Some(chosen.name.clone()), version: chosen.version.clone() };
            Some((Resource::Package { uuid, tree: chosen.tree? }, wanted))
        })
    }
}

impl Solver<'_> {
    /// What these names come to, all together. Blocks for as long as the solver thinks.
    pub fn names(&self, asked: &[Asked]) -> Resolved {
        let mut resolved = Resolved { asked: asked.iter().map(ToString::to_string).collect(), ..Resolved::default() };
        let (mut roots, mut exact) = (Vec::new(), Vec::new());
        for asked in asked {
            match self.registries.find(&asked.wish.name, asked.uuid) {
                Ok(uuid) => {
                    roots.push((asked.wish.name.clone(), Root { uuid, ranges: asked.ranges() }));
                    exact.extend(asked.wish.exact().map(|version| (uuid, version)));
                }
                Err(error) => resolved.conflicts.push(Unsolved { julia: None, why: error.to_string() }),
            }
        }
        if !resolved.conflicts.is_empty() {
            return resolved;
        }
        let forbids = |uuid: Uuid, version: &RegisteredVersion<'_>| {
            let other =
                |(asked, exact): &&(Uuid, Version)| *asked == uuid && version.version.parse().as_ref() != Ok(exact);
            let other = exact.iter().find(other).map(|(_, exact)| format!("{exact} was asked for"));
            other.or_else(|| (self.forbids)(uuid, version))
        };
        for julia in self.julias {
            resolved.notes.extend(shipped(julia, &roots));
            let solved = self.solve(julia, &roots, &BTreeMap::new(), false, &forbids);
            resolved.take(julia, solved);
        }
        resolved
    }

    /// What a project comes to. Blocks likewise.
    pub fn project(&self, input: &ProjectInput) -> Resolved {
        let mut resolved = Resolved { asked: input.project.deps.keys().cloned().collect(), ..Resolved::default() };
        let suits = |julia: &&JuliaTarget| Needs::of(input, julia, self.tests).excludes_julia.is_none();
        let suiting: Vec<_> = self.julias.iter().filter(suits).collect();
        for julia in self.julias {
            let needs = Needs::of(input, julia, false);
            let all = if self.tests { Needs::of(input, julia, true) } else { needs.clone() };
            if let Some(compat) = &all.excludes_julia {
                let why = format!("the project is for Julia {compat}, not for {julia}");
                if suiting.is_empty() {
                    resolved.notes.insert(format!("{why}, of which Pkg only warns, so versions are chosen"));
                } else {
                    resolved.notes.insert(format!("{why}, so nothing is chosen for that"));
                    continue;
                }
            }
            resolved.notes.extend(all.notes.iter().cloned());
            resolved.unmirrorable.extend(all.git.iter().cloned());
            resolved.local_paths.extend(&all.local);
            resolved.notes.extend(
                all.git.iter().map(|git| {
                    format!("{} comes from a git repository; what it depends on is not known here", git.name)
                }),
            );
            let bounded = |uuid: Uuid, version: &RegisteredVersion<'_>| {
                (self.forbids)(uuid, version).or_else(|| needs.forbid(uuid, version))
            };
            let solved = self.solve(julia, &needs.roots, &needs.fixed, false, &bounded);
            let chosen = solved.as_ref().ok().map(|(solved, _)| solved.clone());
            resolved.take(julia, solved);
            if let Some(chosen) = chosen.filter(|_| self.tests) {
                let solved = self.tests_of(julia, &all, &chosen);
                resolved.take(julia, solved);
            }
        }
        resolved
    }

    /// What the tests need: as `Pkg.test` does, with the versions that were chosen without them as
    /// far as they can stay.
    fn tests_of(&self, julia: &JuliaTarget, needs: &Needs, chosen: &Solved) -> Result<(Solved, Vec<String>), String> {
        let policy = |uuid: Uuid, version: &RegisteredVersion<'_>| {
            (self.forbids)(uuid, version).or_else(|| needs.forbid(uuid, version))
        };
        let kept = |uuid: Uuid, version: &RegisteredVersion<'_>| {
            let known = chosen.packages.get(&uuid).and_then(|chosen| chosen.version.as_deref());
            let moved = known.filter(|known| *known != version.version);
            moved.map(|known| format!("{known} was chosen without the tests")).or_else(|| policy(uuid, version))
        };
        let solved = self.solve(julia, &needs.roots, &needs.fixed, true, &kept);
        solved.or_else(|_| self.solve(julia, &needs.roots, &needs.fixed, true, &policy))
    }

    fn solve(
        &self,
        julia: &JuliaTarget,
        roots: &[(String, Root)],
        fixed: &BTreeMap<Uuid, Version>,
        is_test: bool,
        forbids: &Forbids<'_>,
    ) -> Result<(Solved, Vec<String>), String> {
        for (name, root) in roots {
            if !self.registries.has(root.uuid) && stdlib::shipped(root.uuid, julia.version()) == stdlib::Shipped::No {
                let also = if stdlib::is_stdlib(root.uuid) {
                    format!("Julia {julia} does not ship it and ")
                } else {
                    String::new()
                };
                return Err(format!("{name} cannot be had: {also}no registry here has it"));
            }
        }
        let question = Question {
            julia: julia.clone(),
            roots: roots.iter().map(|(_, root)| root.clone()).collect(),
            fixed: fixed.clone(),
            forbids: &|uuid, version| forbids(uuid, version),
            stopped: self.stopped,
        };
        let solution = solve(&self.registries.catalogues, &question).map_err(|conflict| conflict.to_string())?;
        let Solution { packages } = solution;
        let roots = roots.iter().map(|(name, root)| (name.clone(), root.uuid)).collect();
        let notes = self.patch_notes(julia, &packages);
        Ok((Solved { julia: julia.clone(), roots, packages, is_test }, notes))
    }

    /// What was chosen and does not run on every patch of the series that was named.
    fn patch_notes(&self, julia: &JuliaTarget, packages: &BTreeMap<Uuid, Chosen>) -> Vec<String> {
        let Some(first) = julia.first_patch() else { return Vec::new() };
        let note = |(&uuid, chosen): (&Uuid, &Chosen)| {
            let version: Version = chosen.version.as_deref().filter(|_| chosen.tree.is_some())?.parse().ok()?;
            let deps = self.registries.catalogues.iter().filter_map(|catalogue| catalogue.deps(uuid)?.ok());
            let mut bounds = deps.flat_map(PackageDeps::julia).filter(|(versions, _)| versions.contains(&version));
            let (_, bound) = bounds.find(|(_, julia)| !julia.iter().any(|range| range.contains(&first)))?;
            let bound = bound.iter().map(VersionRange::in_words).collect::<Vec<_>>().join(" or ");
            Some(format!(
                "{} {version} is for Julia {bound}: older patches of {julia} do not take it; --julia {first} chooses for all",
                chosen.name
            ))
        };
        packages.iter().filter_map(note).collect()
    }
}

impl Resolved {
    fn take(&mut self, julia: &JuliaTarget, solved: Result<(Solved, Vec<String>), String>) {
        match solved {
            Ok((solved, notes)) => {
                self.notes.extend(notes);
                self.solved.push(solved);
            }
            Err(why) => self.conflicts.push(Unsolved { julia: Some(julia.clone()), why }),
        }
    }
}

/// What is asked for and comes with this Julia.
fn shipped(julia: &JuliaTarget, roots: &[(String, Root)]) -> Vec<String> {
    let is_shipped = |root: &Root| stdlib::shipped(root.uuid, julia.version()) != stdlib::Shipped::No;
    let shipped = roots.iter().filter(|(_, root)| is_shipped(root));
    shipped.map(|(name, _)| format!("Julia {julia} ships {name}: nothing is fetched for it")).collect()
}

/// Chooses the versions of all projects among the inputs; afterwards none is unsolved, unless there
/// is no Julia to choose for. Blocks.
pub fn solve_projects(inputs: &mut [Input], solver: &Solver<'_>) {
    for input in inputs {
        let Ok(Content::Project(project)) = &input.content else { continue };
        if !solver.julias.is_empty() {
            input.content = Ok(Content::Resolved(Box::new(solver.project(project))));
        } else if project.named {
            input.content = Err(InputError::NoJulia(input.path.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::julia::Project;
    use crate::resolve::CatalogueBuilder;
    use std::sync::Arc;

    const LIB: &str = "22222222-2222-2222-2222-222222222222";
    const CHECKS: &str = "33333333-3333-3333-3333-333333333333";

    #[test]
    fn what_was_chosen_stays_for_the_tests() {
        let version = |version: &str, tree: u8| format!("['{version}']\ngit-tree-sha1 = '{tree:040x}'\n");
        let files = [
            (
                "Registry.toml",
                format!(
                    "name='R'\nuuid='{LIB}'\n[packages]\n{LIB}={{name='Lib',path='Lib'}}\n{CHECKS}={{name='Checks',path='Checks'}}\n"
                ),
            ),
            ("Lib/Versions.toml", version("1.0.0", 1) + &version("2.0.0", 2)),
            ("Checks/Versions.toml", version("1.0.0", 3) + &version("2.0.0", 4)),
            ("Checks/Deps.toml", format!("[1-2]\nLib='{LIB}'")),
            ("Checks/Compat.toml", "[2]\nLib='1'".to_owned()),
        ];
        let mut builder = CatalogueBuilder::default();
        for (path, text) in files {
            builder.file(path, text.into_bytes());
        }
        let registries = Registries { catalogues: vec![Arc::new(builder.finish().unwrap())], problems: Vec::new() };
        let project = format!("[deps]\nLib='{LIB}'\n[extras]\nChecks='{CHECKS}'\n[targets]\ntest=['Checks']");
        let input = ProjectInput {
            project: Project::parse(&project).unwrap(),
            named: true,
            members: Vec::new(),
            folders: Vec::new(),
            tests: None,
            member_folders: BTreeSet::new(),
        };
        let julias = ["1.10".parse().unwrap()];
        let solver =
            Solver { registries: &registries, julias: &julias, tests: true, forbids: &|_, _| None, stopped: &|| false };
        let resolved = solver.project(&input);
        let versions = |solved: &Solved| {
            solved.packages.values().filter_map(|chosen| chosen.version.clone()).collect::<Vec<_>>().join(" ")
        };
        let versions: Vec<_> = resolved.solved.iter().map(versions).collect();
        assert_eq!(versions, ["2.0.0", "2.0.0 1.0.0"], "not the newest Checks, which needs an older Lib");
    }
}
