SELECT backoffice.version();
