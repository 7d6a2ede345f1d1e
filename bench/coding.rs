//! What packing a page costs, and what it saves: for each page, coding and level the time and the
//! bytes. The pages are files, as `curl` takes them from a server:
//!
//! `cargo bench --bench coding -- front.html item.html`
//!
//! Of many runs in a row the fastest tells: what else the machine does makes them only slower.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ringpress::coding::{Levels, Packer};
use ringpress::http::Coding;

fn main() -> std::io::Result<()> {
    let files: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    println!("| page | bytes | coding | level | packed bytes | us |");
    println!("|---|---:|---|---:|---:|---:|");
    for file in &files {
        let page = std::fs::read(file)?;
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
        for (coding, level) in LEVELS {
            let mut packer =
                Packer::new(Levels { zstd: i32::from(level), brotli: level, gzip: level });
            let mut out = Vec::with_capacity(page.len());
            if !packer.pack(coding, &page, &mut out) {
                println!("| {name} | {} | {} | {level} | - | - |", page.len(), coding.name());
                continue;
            }
            let packed = out.len();
            let took = fastest(|| {
                out.clear();
                black_box(packer.pack(coding, black_box(&page), &mut out));
            });
            let us = took.as_secs_f64() * 1e6;
            let coding = coding.name();
            println!("| {name} | {} | {coding} | {level} | {packed} | {us:.1} |", page.len());
        }
    }
    Ok(())
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let (begun, mut best) = (Instant::now(), Duration::MAX);
    while begun.elapsed() < MEASURED {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best
}

/// How long each is measured.
const MEASURED: Duration = Duration::from_millis(300);

const LEVELS: [(Coding, u8); 13] = [
    (Coding::Zstd, 1),
    (Coding::Zstd, 3),
    (Coding::Zstd, 5),
    (Coding::Zstd, 9),
    (Coding::Gzip, 1),
    (Coding::Gzip, 2),
    (Coding::Gzip, 3),
    (Coding::Gzip, 6),
    (Coding::Brotli, 1),
    (Coding::Brotli, 2),
    (Coding::Brotli, 3),
    (Coding::Brotli, 4),
    (Coding::Brotli, 5),
];
