-- By the build that made it a published image is asked for when it was last verified again.
CREATE INDEX trial_by_image_of ON trial (image_of, cloud) WHERE image_of IS NOT NULL;
