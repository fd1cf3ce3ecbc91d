-- Whose file it is and how new: read before anything else. No index: both are in the header of the file.
SELECT application_id, user_version FROM pragma_application_id, pragma_user_version
