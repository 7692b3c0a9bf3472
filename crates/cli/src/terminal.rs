//! How wide the terminal is.

/// Columns where nobody says how many there are.
const USUAL: usize = 80;

/// Columns of the terminal that standard error goes to.
pub fn columns() -> usize {
    #[cfg(unix)]
    if let Some(columns) = unix::columns() {
        return columns;
    }
    USUAL
}

#[cfg(unix)]
mod unix {
    use std::ffi::{c_int, c_ulong, c_ushort};

    const STANDARD_ERROR: c_int = 2;
    /// The request for the size, as Linux and the systems that descend from BSD number it.
    const SIZE: c_ulong =
        if cfg!(any(target_os = "linux", target_os = "android")) { 0x5413 } else { 0x4008_7468 };

    #[repr(C)]
    #[derive(Default)]
    struct Size {
        rows: c_ushort,
        columns: c_ushort,
        pixels: [c_ushort; 2],
    }

    unsafe extern "C" {
        fn ioctl(file: c_int, request: c_ulong, ...) -> c_int;
    }

    pub fn columns() -> Option<usize> {
        let mut size = Size::default();
        // SAFETY: the request writes a structure of this layout, which outlives the call; a file that is no terminal,
        // or a system that does not know the request, gives an error and writes nothing.
        let answer = unsafe { ioctl(STANDARD_ERROR, SIZE, &raw mut size) };
        (answer == 0 && size.columns > 0).then_some(size.columns.into())
    }
}
