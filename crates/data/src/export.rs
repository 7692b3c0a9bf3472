//! Images of a source as files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use crate::{Error, INPUT, Result, Source, TARGET, read_one};

/// Writes the images of a source (`input`, f32 of `[1 or 3, height, width]`) as PNG files, in a folder for each class:
/// `DIR/CLASS/NUMBER.png`. Normalisation is undone, numbers outside 0 to 1 are cut off. Files of the same name are
/// written over.
///
/// ```no_run
/// let (train, _) = dropforge_data::digits(100, 0, 1);
/// dropforge_data::save_pictures(&train, "pictures")?;
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The samples are no images with classes, or a stream; the name of a class is no name of a folder; or a file cannot be
/// written.
pub fn save_pictures(source: &dyn Source, dir: impl AsRef<Path>) -> Result<()> {
    let (dir, description) = (dir.as_ref(), source.description());
    let failed = |reason: &str| Error::new(format!("{}: {reason}", description.name));
    let len = source.len().ok_or_else(|| failed("is a stream, whose samples have no numbers"))?;
    let names = description.class_names().ok_or_else(|| failed("has no classes to make folders of"))?;
    let field = description.field(INPUT).ok_or_else(|| failed("has no images"))?;
    let &[channels @ (1 | 3), height, width] = field.shape.as_slice() else {
        return Err(failed("has samples that are no images of 1 or 3 channels"));
    };
    if let Some(name) =
        names.iter().find(|name| name.contains(['/', '\\']) || matches!(name.as_str(), "" | "." | ".."))
    {
        return Err(failed(&format!("has a class `{name}`, which is no name of a folder")));
    }
    for name in names {
        let folder = dir.join(name);
        std::fs::create_dir_all(&folder).map_err(|cause| Error::io(&folder, "make", cause))?;
    }
    let digits = len.saturating_sub(1).to_string().len();
    for index in 0..len {
        let sample = read_one(source, index)?;
        let values = sample.get(INPUT).and_then(|values| values.slice::<f32>());
        let mut values = values.ok_or_else(|| failed("has images that are not of f32"))?.to_vec();
        field.restore_planes(&mut values);
        let class =
            sample.get(TARGET).and_then(|target| target.slice::<i32>()?.first().copied()).unwrap_or(-1);
        let name = usize::try_from(class).ok().and_then(|class| names.get(class));
        let name = name.ok_or_else(|| failed(&format!("sample {index} has no class")))?;
        let path = dir.join(name).join(format!("{index:0digits$}.png"));
        let pixels = height * width;
        let byte = |at: usize| {
            (values[at % channels * pixels + at / channels].clamp(0.0, 1.0) * 255.0).round() as u8
        };
        let bytes: Vec<u8> = (0..channels * pixels).map(byte).collect();
        let file = File::create(&path).map_err(|cause| Error::io(&path, "create", cause))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), width as u32, height as u32);
        encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&bytes));
        written.map_err(|cause| Error::at_file(&path, format_args!("cannot write it: {cause}")))?;
    }
    Ok(())
}

impl crate::Field {
    /// Takes normalisation off the planes of a sample.
    fn restore_planes(&self, values: &mut [f32]) {
        let Some(normalization) = self.preparation.normalization() else { return };
        let plane = (values.len() / self.channels().max(1)).max(1);
        for (channel, values) in values.chunks_mut(plane).enumerate() {
            let (mean, std) = normalization.channel(channel);
            values.iter_mut().for_each(|x| *x = *x * std + mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, message};
    use crate::{Dataset, Description, ImageFolder, Normalization};

    #[test]
    fn what_is_written_is_read_back() {
        let folder = Folder::new("export");
        let pixels: Vec<u8> = (0..3 * 2 * 5 * 7).map(|i| (i * 37 % 256) as u8).collect();
        let description = Description::classes("own", &[3, 5, 7], ["b", "a"]);
        let data = Dataset::from_u8(description, pixels.clone(), vec![1, 0]).unwrap();
        let usual = Normalization::new(&[0.5, 0.4, 0.3], &[0.2, 0.3, 0.4]).unwrap();
        save_pictures(&data.normalized(usual).unwrap(), folder.path()).unwrap();
        let read = ImageFolder::open(folder.path(), 3, 5, 7).unwrap();
        assert_eq!(read.names(), ["a/0.png", "b/1.png"]);
        for index in 0..2 {
            let sample = read_one(&read, index).unwrap();
            let back = sample.get(INPUT).unwrap().slice::<f32>().unwrap();
            let same = back
                .iter()
                .zip(&pixels[index * 105..])
                .all(|(x, byte)| (x * 255.0 - f32::from(*byte)).abs() < 0.01);
            assert!(same, "{index}");
        }
        let odd = Description::classes("odd", &[1, 1, 1], ["a/b", "c"]);
        let odd = Dataset::from_u8(odd, vec![1], vec![0]).unwrap();
        assert!(message(save_pictures(&odd, folder.path())).contains("`a/b`, which is no name of a folder"));
    }
}
