//! What parameters were called before the models took over the names of published weights.

/// The name that a state has today which runs of the first version call `old`; `None` if it has kept its name. What an
/// optimizer keeps for a parameter has the parameter's name at its end.
pub(crate) fn current_name(old: &str) -> Option<String> {
    let mut starts = vec![0];
    starts.extend(old.match_indices('.').map(|(dot, _)| dot + 1));
    starts.into_iter().find_map(|start| {
        let parts: Vec<&str> = old[start..].split('.').collect();
        Some(format!("{}{}", &old[..start], resnet18(&parts)?))
    })
}

/// The names of `resnet18`, whose four stages have two blocks each.
fn resnet18(parts: &[&str]) -> Option<String> {
    match parts {
        ["stem", "0", rest] => Some(format!("conv1.{rest}")),
        ["stem", "1", rest] => Some(format!("bn1.{rest}")),
        ["body", block, part, rest @ ..] => {
            let block: usize = block.parse().ok().filter(|&block| block < 8)?;
            let part = match *part {
                "c1" => "conv1",
                "b1" => "bn1",
                "c2" => "conv2",
                "b2" => "bn2",
                "s" => "downsample",
                _ => return None,
            };
            Some(format!("layer{}.{}.{part}.{}", block / 2 + 1, block % 2, rest.join(".")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names() {
        for (old, new) in [
            ("stem.0.weight", "conv1.weight"),
            ("stem.1.running_mean", "bn1.running_mean"),
            ("body.3.c1.weight", "layer2.1.conv1.weight"),
            ("adam.m.body.4.s.1.bias", "adam.m.layer3.0.downsample.1.bias"),
        ] {
            assert_eq!(current_name(old).as_deref(), Some(new));
        }
        for kept in ["fc.weight", "0.weight", "step", "body.9.c1.weight", "conv1.weight"] {
            assert_eq!(current_name(kept), None, "{kept}");
        }
    }
}
