//! Hashing tarballs of the two shapes that matter: many small files, and few large ones.
#![expect(clippy::unwrap_used, reason = "a benchmark has nobody to report to")]

use std::hint::black_box;

use airlock::tree::{Limits, TarEntry, hash_tar_gz, visit_files, write_tar_gz};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Text that packs about as well as source code does.
fn text(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = [&b"function "[..], b"return ", b"end\n", b"version = ", b"using "];
        text.extend_from_slice(word[(state >> 33) as usize % word.len()]);
        text.extend_from_slice(format!("{:x} ", state >> 50).as_bytes());
    }
    text.truncate(length);
    text
}

fn tarball(files: usize, length: usize) -> Vec<u8> {
    let entry = |n| TarEntry::file(format!("{}/{}/f{n}.toml", n % 26, n % 997), text(n, length), false);
    let mut tarball = Vec::new();
    write_tar_gz((0..files).map(entry), &mut tarball, 6).unwrap();
    tarball
}

fn bench(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("tree");
    group.sample_size(20);
    for (name, files, length) in [("package", 30, 2000), ("registry", 20_000, 700), ("artifact", 8, 8 << 20)] {
        let tarball = tarball(files, length);
        group.throughput(Throughput::Bytes(hash_tar_gz(&tarball[..], &limits, |_| false).unwrap().unpacked_bytes));
        group.bench_function(format!("hash/{name}"), |bencher| {
            bencher.iter(|| hash_tar_gz(black_box(&tarball[..]), &limits, |_| false).unwrap());
        });
        group.bench_function(format!("visit/{name}"), |bencher| {
            bencher.iter(|| {
                visit_files(black_box(&tarball[..]), &limits, &mut |_, contents| drop(black_box(contents))).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
