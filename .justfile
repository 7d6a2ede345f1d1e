# Shorthand for people; what CI does is in .ci/run.

# Show the recipes
default:
    @just --list

# The quick checks: format, lints, docs
check:
    cargo fmt --check
    cargo clippy --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

# All tests, or those whose name has the word
test *word:
    cargo test {{word}}

# Fuzz one target (see fuzz/) for some seconds; needs nightly and cargo-fuzz
fuzz target seconds="60":
    mkdir -p fuzz/corpus/{{target}} fuzz/seeds/{{target}}
    cargo +nightly fuzz run {{target}} fuzz/corpus/{{target}} fuzz/seeds/{{target}} -- -max_total_time={{seconds}}

# Measure this machine (see bench/README.md): scenarios, contenders, or all for an hour
bench *arguments:
    cargo bench --bench matrix -- {{arguments}}

# What the parts of a page cost by themselves
micro *arguments:
    cargo bench --bench micro -- {{arguments}}

# A news site against an API of its own
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Everything, as CI does it
ci:
    bash .ci/run
