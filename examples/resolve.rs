//! Solves the closure of packages over a registry tarball, and says how long that took:
//!
//!     resolve REGISTRY.tar.gz JULIA NAME[,NAME…]…
//!
//! Names with commas between them are asked for together. `scripts/bench.sh` runs it.

use airlock::julia::{JuliaTarget, VersionRange};
use airlock::resolve::{CatalogueBuilder, Question, Root, solve};
use airlock::tree::{Limits, visit_files};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut args = std::env::args().skip(1);
    let (Some(tarball), Some(julia)) = (args.next(), args.next()) else {
        anyhow::bail!("which registry, which Julia?")
    };
    let julia: JuliaTarget = julia.parse()?;
    let begun = Instant::now();
    let mut builder = CatalogueBuilder::default();
    let file = fs_err::File::open(tarball)?;
    visit_files(file, &Limits::default(), &mut |path, bytes| builder.file(path, bytes))?;
    let catalogue = Arc::new(builder.finish()?);
    writeln!(out, "LOADED {:.3} s, {} versions", begun.elapsed().as_secs_f64(), catalogue.index().version_count())?;
    for names in args {
        let mut roots = Vec::new();
        for name in names.split(',') {
            let (name, range) = name.split_once('@').map_or((name, None), |(name, range)| (name, Some(range)));
            let found = catalogue.index().packages().find(|(_, known)| *known == name);
            let uuid = found.ok_or_else(|| anyhow::anyhow!("{name} is not registered"))?.0;
            let ranges = range.map(str::parse::<VersionRange>).transpose()?.into_iter().collect();
            roots.push(Root { uuid, ranges });
        }
        let begun = Instant::now();
        let question = Question::new(julia.clone(), roots);
        let solved = solve(&[Arc::clone(&catalogue)], &question);
        let took = begun.elapsed().as_secs_f64();
        match solved {
            Ok(solution) => {
                for (uuid, chosen) in &solution.packages {
                    let version = chosen.version.as_deref().unwrap_or("-");
                    let tree = chosen.tree.map_or_else(|| "shipped".to_owned(), |tree| tree.to_string());
                    writeln!(out, "CHOSE {uuid} {} {version} {tree}", chosen.name)?;
                }
                writeln!(out, "DONE {names} {took:.3} s, {} packages", solution.packages.len())?;
            }
            Err(conflict) => writeln!(out, "FAILED {names} {took:.3} s: {conflict}")?,
        }
    }
    Ok(())
}
