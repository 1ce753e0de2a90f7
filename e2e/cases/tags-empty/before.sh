# What `docker save` writes of an image with one empty layer, which no other case has: an image of an earlier build is refused.
layer() { head -c 10240 /dev/zero; }
diff=$(layer | sha256sum | cut -d ' ' -f 1)
mkdir image && cd image
layer > layer.tar
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"%s"}]}' "$diff" "$NAMESPACE" > config.json
printf '[{"Config":"config.json","RepoTags":["%s/packed:latest"],"Layers":["layer.tar"]}]' "$REGISTRY_HOST" > manifest.json
tar -cf ../image.tar config.json layer.tar manifest.json
cd .. && rm -r image
