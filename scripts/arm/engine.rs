//! The int8 engine by itself, so that its tests can be built for AArch64 in a minute.

#[path = "../../src/analysis/engine/int8/mod.rs"]
pub mod int8;

/// The tests take every path that the processor has; the script knows which one it has.
#[test]
fn the_processor_has_the_expected_paths() {
    let expected = std::env::var("EXPECTED_PATHS").expect("scripts/test-arm sets EXPECTED_PATHS");
    let available = int8::isa::Isa::ALL.into_iter().filter(|isa| isa.available());
    let found: Vec<&str> = available.map(int8::isa::Isa::name).collect();
    assert_eq!(found.join(" "), expected);
}
