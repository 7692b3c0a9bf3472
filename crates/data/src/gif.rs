//! The first frame of GIF files (CompuServe: Graphics Interchange Format, version 89a).

use crate::picture::{MOST_HELD_PIXELS, Picture, check_size};

const TRUNCATED: &str = "is a truncated GIF image: a part of it is missing; fetch or copy it again";
/// No code is longer, so that there are no more strings than this.
const MOST_STRINGS: usize = 1 << 12;

/// The bytes of a file, one after another.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn short(&mut self) -> Result<usize, String> {
        let bytes = self.take(2)?;
        Ok(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    }

    /// The colours of a table, if these flags say that there is one.
    fn colours(&mut self, flags: u8) -> Result<Option<&'a [u8]>, String> {
        if flags & 0x80 == 0 { Ok(None) } else { self.take(3 << ((flags & 7) + 1)).map(Some) }
    }

    /// A chain of blocks as one piece.
    fn blocks(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        loop {
            match self.byte()? {
                0 => return Ok(all),
                len => all.extend_from_slice(self.take(usize::from(len))?),
            }
        }
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let mut file = Bytes(bytes);
    file.take(6)?;
    let (width, height) = (file.short()?, file.short()?);
    check_size(width, height, MOST_HELD_PIXELS)?;
    let flags = file.byte()?;
    file.take(2)?;
    let shared = file.colours(flags)?;
    let mut clear = None;
    loop {
        match file.byte()? {
            0x21 => {
                let label = file.byte()?;
                let contents = file.blocks()?;
                if let (0xf9, &[flags, _, _, index, ..]) = (label, contents.as_slice()) {
                    clear = (flags & 1 == 1).then_some(index);
                }
            }
            0x2c => break,
            0x3b => return Err("is a GIF image without a frame".into()),
            other => return Err(format!("is a damaged GIF image: {other:#04x} starts no block")),
        }
    }
    let (left, top) = (file.short()?, file.short()?);
    let (frame_width, frame_height) = (file.short()?, file.short()?);
    check_size(frame_width, frame_height, MOST_HELD_PIXELS)?;
    let flags = file.byte()?;
    let colours = file.colours(flags)?.or(shared).ok_or("is a GIF image without colours")?;
    let least = file.byte()?;
    // A frame whose chain of blocks has no end may still have all its pixels.
    let mut packed = Vec::new();
    while let Ok(len @ 1..) = file.byte() {
        let len = usize::from(len).min(file.0.len());
        packed.extend_from_slice(file.take(len)?);
    }
    let indices = unpack(&packed, least, frame_width * frame_height)?;
    let mut pixels = vec![255; width * height * 3];
    let rows = row_order(frame_height, flags & 0x40 != 0);
    for (row, y) in indices.chunks_exact(frame_width).zip(rows) {
        for (x, &index) in row.iter().enumerate() {
            if clear == Some(index) || top + y >= height || left + x >= width {
                continue;
            }
            let colour = colours.get(usize::from(index) * 3..).and_then(|rest| rest.get(..3));
            let colour = colour.ok_or_else(|| format!("is a damaged GIF image: it has no colour {index}"))?;
            pixels[((top + y) * width + left + x) * 3..][..3].copy_from_slice(colour);
        }
    }
    Ok(Picture { width, height, channels: 3, bytes: pixels })
}

/// The places of the rows as they are stored.
fn row_order(height: usize, interlaced: bool) -> Vec<usize> {
    if !interlaced {
        return (0..height).collect();
    }
    [(0, 8), (4, 8), (2, 4), (1, 2)]
        .into_iter()
        .flat_map(|(start, step)| (start..height).step_by(step))
        .collect()
}

/// Unpacks so many bytes (Welch: A technique for high-performance data compression, 1984, with codes that grow).
fn unpack(packed: &[u8], least: u8, count: usize) -> Result<Vec<u8>, String> {
    if !(1..=8).contains(&least) {
        return Err(format!("is a damaged GIF image: its codes start with {least} bits"));
    }
    let (clear, end) = (1usize << least, (1usize << least) + 1);
    // Each string is another one and a byte; `len` is how long it is.
    let (mut before, mut last, mut len) =
        (vec![0u16; MOST_STRINGS], vec![0u8; MOST_STRINGS], vec![0u16; MOST_STRINGS]);
    for code in 0..clear {
        (last[code], len[code]) = (code as u8, 1);
    }
    let (mut next, mut bits, mut previous) = (end + 1, u32::from(least) + 1, None::<usize>);
    let (mut held, mut held_bits) = (0u32, 0);
    let mut out: Vec<u8> = Vec::new();
    let mut packed = packed.iter();
    while out.len() < count {
        while held_bits < bits {
            held |= u32::from(*packed.next().ok_or(TRUNCATED)?) << held_bits;
            held_bits += 8;
        }
        let code = (held & ((1 << bits) - 1)) as usize;
        held >>= bits;
        held_bits -= bits;
        if code == clear {
            (next, bits, previous) = (end + 1, u32::from(least) + 1, None);
            continue;
        }
        if code == end {
            break;
        }
        let known = code < clear || code > end && code < next;
        let Some(source) = (if known { Some(code) } else { previous.filter(|_| code == next) }) else {
            return Err("is a damaged GIF image: a code stands for nothing".into());
        };
        let start = out.len();
        out.resize(start + usize::from(len[source]), 0);
        let mut at = source;
        for byte in out[start..].iter_mut().rev() {
            *byte = last[at];
            at = usize::from(before[at]);
        }
        let first = out[start];
        if !known {
            out.push(first);
        }
        if let Some(previous) = previous.filter(|_| next < MOST_STRINGS) {
            (before[next], last[next], len[next]) = (previous as u16, first, len[previous] + 1);
            next += 1;
            if next == 1 << bits && bits < 12 {
                bits += 1;
            }
        }
        previous = Some(code);
    }
    if out.len() < count {
        return Err(TRUNCATED.into());
    }
    out.truncate(count);
    Ok(out)
}
