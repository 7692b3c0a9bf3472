//! A tile of sums in the tile registers of AMX, which multiply 16 by 16 by 16 pairs at once.
//!
//! Rust has no stable intrinsics for them, so that all that touches a tile register is one block of assembly.

use super::tile::{COLUMNS, TileArguments};
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Rows of a tile of sums: two registers, as in its columns.
pub(super) const ROWS: usize = 32;
/// Pairs that one instruction sums: those of a row of a register.
pub(super) const STEPS: usize = 16;
/// Rows of a register.
const HEIGHT: usize = 16;
/// Bytes of a row of a register.
const WIDTH: usize = 64;

/// What the registers are configured with: palette 1, in which a tile has as many rows and bytes in a row as its entry
/// says.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes: [WIDTH as u16, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [HEIGHT as u8, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the processor multiplies tiles of bf16 and the system lets this process use them. Linux wants to be asked,
/// from 5.16 on; the answer holds for all threads.
pub(super) fn is_available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| cfg!(target_os = "linux") && has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const OF_BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    __cpuid_count(7, 0).edx & (OF_BF16 | TILES) == OF_BF16 | TILES
}

fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a call of the system that reads no memory; it changes what may be saved of this process's registers.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// Computes a tile of [`ROWS`] rows. The left side lies in blocks of [`STEPS`] pairs: row after row, each with its
/// pairs one after another.
///
/// # Safety
/// Everything that the arguments describe is accessible, `pairs` is a multiple of [`STEPS`], and [`is_available`].
pub(super) unsafe fn compute(arguments: TileArguments) {
    const STEP: usize = ROWS * WIDTH;
    const { assert!(STEP == STEPS * COLUMNS * size_of::<u32>()) };
    let TileArguments { left, right, pairs, sums, sums_row, accumulate } = arguments;
    // SAFETY: the caller's promise. The registers are set up, used and given back within the block.
    unsafe {
        if !accumulate {
            for row in 0..ROWS {
                sums.add(row * sums_row).write_bytes(0, COLUMNS);
            }
        }
        if pairs == 0 {
            return;
        }
        asm!(
            "ldtilecfg [{configuration}]",
            "tileloadd tmm0, [{upper}+{sums_row}*1]",
            "tileloadd tmm1, [{upper}+{sums_row}*1+64]",
            "tileloadd tmm2, [{lower}+{sums_row}*1]",
            "tileloadd tmm3, [{lower}+{sums_row}*1+64]",
            "2:",
            "tileloadd tmm4, [{left}+{left_row}*1]",
            "tileloadd tmm5, [{left}+{left_row}*1+1024]",
            "tileloadd tmm6, [{right}+{right_row}*1]",
            "tileloadd tmm7, [{right}+{right_row}*1+64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {left}, 2048",
            "add {right}, 2048",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{upper}+{sums_row}*1], tmm0",
            "tilestored [{upper}+{sums_row}*1+64], tmm1",
            "tilestored [{lower}+{sums_row}*1], tmm2",
            "tilestored [{lower}+{sums_row}*1+64], tmm3",
            "tilerelease",
            configuration = in(reg) &raw const CONFIGURATION,
            upper = in(reg) sums,
            lower = in(reg) sums.add(HEIGHT * sums_row),
            sums_row = in(reg) sums_row * size_of::<f32>(),
            left = inout(reg) left => _,
            left_row = in(reg) WIDTH,
            right = inout(reg) right => _,
            right_row = in(reg) COLUMNS * size_of::<u32>(),
            blocks = inout(reg) pairs / STEPS => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}
