//! Projects that nobody resolved: their versions are chosen here.

use super::by_name::{by_name, chosen, conflicts};
use super::{How, Outside, PLAIN, packages};
use airlock::prewarm::{ByName, Report};
use std::path::Path;

const GREETING: &str = "Greeting = '1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9'";
const PEBBLE: &str = "Pebble = '354e2ac8-8ada-4e21-9862-af9efd059799'";
const FARAWAY: &str = "Faraway = '013c1936-6cdd-4cf9-9dd0-b9aa231ec2e4'";
const ME: &str = "name = 'Me'\nuuid = '99999999-3333-4333-8333-333333333333'\nversion = '0.1.0'\n";

async fn ask(outside: &Outside, path: &Path, julias: &[&str], tests: bool) -> Report {
    outside.ask_with(&[path], ByName { tests, ..by_name(&[], julias) }, PLAIN).await
}

#[tokio::test]
async fn a_projects_compat_is_pkgs() {
    let outside = Outside::new().await;
    let text = format!("{ME}[deps]\n{GREETING}\n[compat]\nGreeting = '~1.1'\njulia = '1.5'\n");
    let project = outside.file("App/Project.toml", text);
    let report = ask(&outside, &project, &["1.10"], false).await;
    assert_eq!(chosen(&report), ["1.10: Greeting 1.1.0, Pebble 1.1.0"]);
    assert_eq!((packages(&report).len(), report.exit_code()), (2, 0), "the project itself is not fetched");
    let found = ask(&outside, project.parent().unwrap().parent().unwrap(), &["1.10"], false).await;
    assert_eq!(chosen(&found), chosen(&report), "in a folder it is found");
}

#[tokio::test]
async fn a_project_without_a_julia_is_an_error_if_it_was_named_and_a_warning_if_it_was_found() {
    let outside = Outside::new().await;
    let project = outside.file("App/Project.toml", format!("[deps]\n{GREETING}\n"));
    let named = ask(&outside, &project, &[], false).await;
    assert!(named.inputs[0].error.as_deref().unwrap().contains("--julia"), "{:?}", named.inputs);
    assert_eq!(named.exit_code(), 1);
    let found = ask(&outside, project.parent().unwrap(), &[], false).await;
    assert!(found.inputs[0].warnings[0].contains("give --julia"), "{:?}", found.inputs);
    assert_eq!((found.packages.len(), found.exit_code()), (0, 0));
}

#[tokio::test]
async fn the_tests_need_more() {
    let outside = Outside::new().await;
    let text =
        format!("{ME}[deps]\n{PEBBLE}\n[extras]\n{FARAWAY}\n[targets]\ntest = ['Faraway']\n[compat]\nFaraway='0.1'\n");
    outside.file("Me/Project.toml", text);
    let own = "Me = '99999999-3333-4333-8333-333333333333'";
    let beside = outside.file("Me/test/Project.toml", format!("[deps]\n{own}\n{GREETING}\n[compat]\nGreeting='1.1'\n"));
    let project = beside.parent().unwrap().parent().unwrap();
    let plain = ask(&outside, project, &["1.10"], false).await;
    assert_eq!(chosen(&plain), ["1.10: Pebble 2.0.0"]);
    let tested = ask(&outside, project, &["1.10"], true).await;
    let with_tests = "1.10 tests: Greeting 1.2.0, Pebble 2.0.0";
    assert_eq!(chosen(&tested), ["1.10: Pebble 2.0.0", with_tests], "what was chosen stays");
    outside.file("Me/test/Project.toml", format!("[deps]\n{GREETING}\n[compat]\nGreeting='~1.1'\n"));
    let moved = ask(&outside, project, &["1.10"], true).await;
    let with_tests = "1.10 tests: Greeting 1.1.0, Pebble 1.1.0";
    assert_eq!(chosen(&moved), ["1.10: Pebble 2.0.0", with_tests], "unless it cannot");
    assert_eq!(packages(&moved), ["Greeting 1.1.0", "Pebble 1.1.0", "Pebble 2.0.0"]);
    fs_err::remove_file(&beside).unwrap();
    let extras = ask(&outside, project, &["1.10"], true).await;
    let with_tests = "1.10 tests: Faraway 0.1.0, Pebble 2.0.0";
    assert_eq!(chosen(&extras), ["1.10: Pebble 2.0.0", with_tests], "targets count where there is no project of tests");
}

#[tokio::test]
async fn sources_are_not_taken_from_a_registry() {
    let outside = Outside::new().await;
    let sources = "[sources]\nGreeting = {path = '../Greeting'}\nPebble = {url = 'https://me:word@h.example/P.git'}\n";
    let project = outside.file("App/Project.toml", format!("[deps]\n{GREETING}\n{PEBBLE}\n{sources}"));
    let local = "name='Greeting'\nuuid='1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9'\n";
    outside.file("Greeting/Project.toml", format!("{local}[deps]\n{FARAWAY}\n[compat]\nFaraway='0.2'\n"));
    let report = ask(&outside, &project, &["1.11"], false).await;
    assert_eq!(chosen(&report), ["1.11: Faraway 0.2.0"], "what the folder needs");
    let [git] = &report.unmirrorable[..] else { panic!("{:?}", report.unmirrorable) };
    assert_eq!((git.name.as_str(), git.repo_url.as_deref()), ("Pebble", Some("https://h.example/P.git")));
    assert_eq!((report.local_paths, report.exit_code()), (1, 1));
    let older = ask(&outside, &project, &["1.10"], false).await;
    assert_eq!(chosen(&older), ["1.10: Greeting 1.2.0, Pebble 2.0.0"], "before 1.11 nobody reads [sources]");
}

#[tokio::test]
async fn a_workspace_is_chosen_as_one() {
    let outside = Outside::new().await;
    let root = outside.file("All/Project.toml", format!("[deps]\n{GREETING}\n[workspace]\nprojects = ['docs']\n"));
    outside.file("All/docs/Project.toml", format!("[deps]\n{PEBBLE}\n[compat]\nPebble = '1'\n"));
    let report = ask(&outside, root.parent().unwrap(), &["1.12"], false).await;
    assert_eq!(chosen(&report), ["1.12: Greeting 1.1.0, Pebble 1.1.0"]);
    assert_eq!(report.inputs.len(), 1, "the member is no input of its own");
}

#[tokio::test]
async fn contradictions_and_other_julias_are_said() {
    let outside = Outside::new().await;
    let contradiction = format!("[deps]\n{GREETING}\n{PEBBLE}\n[compat]\nGreeting = '1.2'\nPebble = '1'\n");
    let project = outside.file("App/Project.toml", contradiction);
    let report = ask(&outside, &project, &["1.10"], false).await;
    let [why] = <[String; 1]>::try_from(conflicts(&report)).unwrap();
    assert!(why.contains("Greeting") && why.contains("Pebble"), "{why}");
    assert_eq!((report.packages.len(), report.exit_code()), (0, 1));
    let old = outside.file("Old/Project.toml", format!("[deps]\n{PEBBLE}\n[compat]\njulia = '~1.6'\n"));
    let report = ask(&outside, &old, &["1.6", "1.10"], false).await;
    assert_eq!((chosen(&report), report.exit_code()), (vec!["1.6: Pebble 2.0.0".to_owned()], 0));
    let said = "the project is for Julia ~1.6, not for 1.10, so nothing is chosen for that";
    assert_eq!(report.inputs[0].warnings, [said]);
    let report = ask(&outside, &old, &["1.10"], false).await;
    assert_eq!((chosen(&report), report.exit_code()), (vec!["1.10: Pebble 2.0.0".to_owned()], 0));
    let said = "the project is for Julia ~1.6, not for 1.10, of which Pkg only warns, so versions are chosen";
    assert_eq!(report.inputs[0].warnings, [said]);
}

#[tokio::test]
async fn what_julia_ships_is_not_bound_by_a_project() {
    let outside = Outside::new().await;
    let sha = "SHA = 'ea8e919c-243c-51af-8825-aaa63cd721ce'";
    let project = outside.file("App/Project.toml", format!("[deps]\n{sha}\n[compat]\nSHA = '2'\n"));
    let report = ask(&outside, &project, &["1.10"], false).await;
    let said = "the project wants SHA 2, and Julia 1.10 ships 0.7.0, which counts, as for Pkg";
    assert_eq!((&*report.inputs[0].warnings, report.exit_code()), (&[said.to_owned()][..], 0));
    let report = ask(&outside, &project, &["1.6"], false).await;
    assert_eq!((report.conflicts.len(), report.exit_code()), (1, 1), "Pkg took it for a bound then");
}

#[tokio::test]
async fn a_project_that_is_registered_is_no_dependency_of_itself() {
    let outside = Outside::new().await;
    let text = format!("name = 'Pebble'\nuuid = '{}'\nversion = '1.1.9'\n[deps]\n{GREETING}\n", &PEBBLE[10..46]);
    let project = outside.file("Pebble/Project.toml", text);
    let report = ask(&outside, &project, &["1.10"], false).await;
    assert_eq!(chosen(&report), ["1.10: Greeting 1.1.0"], "the one that goes with 1.1.9");
    assert_eq!((packages(&report).len(), report.exit_code()), (1, 0));
}

#[tokio::test]
async fn weak_dependencies_do_not_come_and_bound_those_that_do() {
    let outside = Outside::new().await;
    let text = format!("{ME}[deps]\n{GREETING}\n{PEBBLE}\n[weakdeps]\n{PEBBLE}\n[compat]\nPebble='1'\n");
    let project = outside.file("App/Project.toml", text);
    let report = ask(&outside, &project, &["1.10", "1.8"], false).await;
    assert_eq!(
        chosen(&report),
        ["1.10: Greeting 1.1.0, Pebble 1.1.0", "1.8: Greeting 1.1.0, Pebble 1.1.0"],
        "Greeting brings Pebble, of which the project wants 1"
    );
    let alone = outside.file("B/Project.toml", format!("{ME}[deps]\n{PEBBLE}\n[weakdeps]\n{PEBBLE}\n"));
    assert_eq!(chosen(&ask(&outside, &alone, &["1.10", "1.8"], false).await), ["1.10: ", "1.8: Pebble 2.0.0"]);
}

#[tokio::test]
async fn a_broken_project_names_its_line() {
    let outside = Outside::new().await;
    let project = outside.file("App/Project.toml", "[deps]\nA = 'x'\n");
    let dry = How { dry_run: true, ..PLAIN };
    let report = outside.ask_with(&[&project], by_name(&[], &["1.10"]), dry).await;
    assert!(report.inputs[0].error.as_deref().unwrap().ends_with("Project.toml: line 2: \"x\" is not a uuid"));
    outside.file("App/Project.toml", format!("[deps]\n{PEBBLE}\n"));
    outside.file("App/test/Project.toml", "[deps]\nA = 1\n");
    let report = outside.ask_with(&[&project], by_name(&[], &["1.10"]), dry).await;
    assert!(report.inputs[0].error.as_deref().unwrap().contains("test/Project.toml: line 2"), "{:?}", report.inputs);
}
