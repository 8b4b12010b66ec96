-- What whoever uses a build's image should know although it is no failure, a line each: for example that it could not be
-- verified that the image holds what was put into it.
ALTER TABLE build ADD COLUMN warnings TEXT;
