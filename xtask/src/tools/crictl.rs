//! Images and containers of a node, by `crictl` in it: the same for each container runtime.

use std::collections::BTreeMap;

use crate::model::image::{Image, short};
use crate::run::call::{Call, argv, call};

/// The images of a node, as JSON.
pub fn images(node: &str) -> Call<BTreeMap<String, String>> {
    call(argv!("docker exec {node} crictl images --output json")).try_parse(|text| Ok(parse_images(&text)?))
}

/// The same, with names and sizes.
pub fn inventory(node: &str) -> Call<Vec<Image>> {
    let Call { argv, .. } = images(node);
    call(argv).try_parse(|text| Ok(parse_inventory(&text)?))
}

/// Reference to ID from what `images` printed; `docker.io/library/` is left out, as docker does.
fn parse_images(stdout: &str) -> serde_json::Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct List {
        images: Vec<Image>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Image {
        id: String,
        #[serde(default)]
        repo_tags: Vec<String>,
    }
    let list: List = serde_json::from_str(stdout)?;
    let pairs = list.images.into_iter().flat_map(|image| {
        let id = image.id;
        image.repo_tags.into_iter().map(move |tag| (short(&tag).to_string(), id.clone()))
    });
    Ok(pairs.collect())
}

/// A node's images with their names and sizes, from what `images` printed.
fn parse_inventory(stdout: &str) -> serde_json::Result<Vec<Image>> {
    let value: serde_json::Value = serde_json::from_str(stdout)?;
    let image = |value: &serde_json::Value| {
        let references = value["repoTags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str());
        // The interface writes 64-bit numbers as text.
        let size = value["size"].as_str().and_then(|text| text.parse().ok()).or(value["size"].as_u64());
        Image {
            id: value["id"].as_str().unwrap_or_default().to_string(),
            references: references.map(|tag| short(tag).to_string()).collect(),
            size_bytes: size.unwrap_or_default(),
            pinned: value["pinned"] == true,
            ..Image::default()
        }
    };
    Ok(value["images"].as_array().into_iter().flatten().map(image).collect())
}

/// Removes an image with all of its names.
pub fn remove_image(node: &str, image: &str) -> Call {
    call(argv!("docker exec {node} crictl rmi {image}"))
}

/// Ends a container of a node's by SIGKILL.
pub fn kill(node: &str, container: &str) -> Call {
    call(argv!("docker exec {node} crictl stop --timeout 0 {container}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_inventory_has_sizes() {
        let json = r#"{"images":[{"id":"sha256:1","repoTags":["docker.io/library/a:1"],"size":"12","pinned":true},{"id":"2"}]}"#;
        let read = parse_inventory(json).unwrap();
        assert_eq!((read[0].references[0].as_str(), read[0].size_bytes, read[0].pinned), ("a:1", 12, true));
        assert_eq!((read[1].references.len(), read[1].pinned), (0, false));
    }

    #[test]
    fn node_images_are_read_under_dockers_names() {
        let json = r#"{"images":[{"id":"sha256:1","repoTags":["docker.io/library/a:1","b.c/d:2"]},{"id":"sha256:2","repoTags":[]}]}"#;
        let images = parse_images(json).unwrap();
        assert_eq!(images["a:1"], "sha256:1");
        assert_eq!(images["b.c/d:2"], "sha256:1");
        assert_eq!(images.len(), 2);
    }
}
