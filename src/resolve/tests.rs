//! Small registries, and what is chosen from them.

use super::*;

/// A registry written in short: `App 2.0.0 julia=1.9-1 Lib=2 Old` is a version and what it needs;
/// `!` behind the version means yanked, `?Name` a weak dependency, `#` before the name of a
/// dependency one that is in no registry.
pub(super) fn catalogue(lines: &[&str]) -> Arc<Catalogue> {
    named_catalogue("R", lines)
}

pub(super) fn uuid(name: &str) -> Uuid {
    let known =
        [("Dates", "ade2ca70-3891-5945-98fb-dc099432e06a"), ("Statistics", "10745b16-79ce-11e8-11f9-7d13ad32a3b2")];
    if let Some((_, uuid)) = known.iter().find(|(known, _)| *known == name) {
        return uuid.parse().unwrap();
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
    Uuid::from_random(bytes)
}

pub(super) fn named_catalogue(registry: &str, lines: &[&str]) -> Arc<Catalogue> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut names = std::collections::BTreeSet::new();
    let mut add = |file: String, text: String| files.entry(file).or_default().push_str(&text);
    for (number, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let (version, yanked) = version.strip_suffix('!').map_or((version, ""), |it| (it, "yanked = true\n"));
        names.insert(name);
        let tree = format!("{:040x}", number + 1 + registry.len() * 0x1000);
        add(format!("{name}/Versions.toml"), format!("[\"{version}\"]\ngit-tree-sha1 = \"{tree}\"\n{yanked}"));
        let section = version.split(['+', '-']).next().unwrap();
        for file in ["Deps", "Compat", "WeakDeps", "WeakCompat"] {
            add(format!("{name}/{file}.toml"), format!("[\"{section}\"]\n"));
        }
        for word in words {
            let (weak, word) = word.strip_prefix('?').map_or(("", word), |word| ("Weak", word));
            let (dependency, compat) = word.split_once('=').unwrap_or((word, ""));
            if dependency != "julia" {
                add(format!("{name}/{weak}Deps.toml"), format!("{dependency} = \"{}\"\n", uuid(dependency)));
            }
            if !compat.is_empty() {
                let ranges: Vec<_> = compat.split('|').map(|range| format!("\"{range}\"")).collect();
                add(format!("{name}/{weak}Compat.toml"), format!("{dependency} = [{}]\n", ranges.join(",")));
            }
        }
    }
    let listed: String =
        names.iter().map(|name| format!("{} = {{name='{name}',path='{name}'}}\n", uuid(name))).collect();
    add("Registry.toml".to_owned(), format!("name='{registry}'\nuuid='{}'\n[packages]\n{listed}", uuid(registry)));
    let mut builder = CatalogueBuilder::default();
    files.into_iter().for_each(|(path, text)| builder.file(&path, text.into_bytes()));
    Arc::new(builder.finish().unwrap())
}

fn ask(catalogues: &[Arc<Catalogue>], julia: &str, roots: &[&str]) -> Result<Solution, Conflict> {
    let root = |text: &&str| {
        let (name, range) = text.split_once('@').unwrap_or((text, ""));
        let ranges = range.split('|').filter(|range| !range.is_empty()).map(|range| range.parse().unwrap());
        Root { uuid: uuid(name), ranges: ranges.collect() }
    };
    let roots = roots.iter().map(root).collect();
    solve(catalogues, &Question { julia: julia.parse().unwrap(), roots, forbids: &|_, _| None })
}

/// `App 1.0.0, Lib 2.0.0`, or why not.
fn chosen(lines: &[&str], julia: &str, roots: &[&str]) -> String {
    match ask(&[catalogue(lines)], julia, roots) {
        Ok(solution) => {
            let mut shown: Vec<_> = solution
                .packages
                .values()
                .map(|it| it.version.as_ref().map_or(it.name.clone(), |version| format!("{} {version}", it.name)))
                .collect();
            shown.sort_unstable();
            shown.join(", ")
        }
        Err(conflict) => conflict.to_string(),
    }
}

#[test]
fn the_newest_that_fits() {
    let lines = ["App 1.0.0 Lib=1", "App 2.0.0 Lib=2 Dates", "Lib 1.0.0", "Lib 2.0.0", "Lib 2.1.0!", "Lib 3.0.0"];
    assert_eq!(chosen(&lines, "1.5.3", &["App"]), "App 2.0.0, Dates, Lib 2.0.0, Printf, Unicode");
    assert_eq!(chosen(&lines, "1.5.3", &["App", "Lib@1"]), "App 1.0.0, Lib 1.0.0");
}
