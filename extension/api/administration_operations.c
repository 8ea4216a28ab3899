/*
 * administration_operations.c
 *		People of an organization, and what they may do.
 */
#include "api/api.h"

ApiOperation api_administration[] = {
	{"members", "access.read", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('user_id', m.user_id, 'email', m.email, 'state', m.state, 'user_state', m.user_state,"
				 "         'roles', to_jsonb(m.roles), 'created_at', backoffice.time_text(m.created_at)) AS item, m.user_id::text AS key"
				 " FROM access.members m"
				 " WHERE m.organization_id = backoffice.current_organization() AND ($1 IS NULL OR m.user_id > $1) ORDER BY m.user_id")
	}},
	{"remove_member", "access.manage_members", 0, {
		"SELECT jsonb_build_object('user_id', $1, 'removed', true)"
		" FROM access.remove_member(backoffice.current_organization(), $1) AS removed WHERE removed"
	}, {"unknown_user", "the organization has no such member"}},
	{"invite_member", "access.manage_members", 0, {
		"SELECT jsonb_build_object('id', i.id, 'email', $1, 'role', $2), 201,"
		"       jsonb_build_array(jsonb_build_object('Location', '/invitations/' || i.id))"
		" FROM access.invite($1, $2) AS i (id)"
	}},
	{"invitations", "access.read", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('id', i.id, 'email', i.email, 'role', i.role, 'invited_by', i.invited_by,"
				 "         'created_at', backoffice.time_text(i.created_at), 'expires_at', backoffice.time_text(i.expires_at)) AS item, i.id::text AS key"
				 " FROM access.invitations i"
				 " WHERE i.organization_id = backoffice.current_organization() AND ($1 IS NULL OR i.id > $1) ORDER BY i.id")
	}},
	{"withdraw_invitation", "access.manage_members", 0, {
		"SELECT jsonb_build_object('id', $1, 'withdrawn', true) FROM access.withdraw_invitation($1) AS withdrawn WHERE withdrawn"
	}, {"unknown_invitation", "the invitation does not exist"}},
	{"my_invitations", API_ANY_USER, 0, {
		"SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'organization_id', i.organization_id,"
		"         'organization', i.organization, 'role', i.role, 'created_at', backoffice.time_text(i.created_at),"
		"         'expires_at', backoffice.time_text(i.expires_at)) ORDER BY i.id), '[]'), 'next', NULL)"
		" FROM access.my_invitations() i"
	}},
	{"accept_invitation", API_ANY_USER, 0, {
		"SELECT jsonb_build_object('organization_id', access.accept_invitation($1))"
	}},
	{"roles", "access.read", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('name', r.name, 'permissions', to_jsonb(r.permissions), 'inherits', to_jsonb(r.inherits),"
				 "         'created_at', backoffice.time_text(r.created_at)) AS item, r.name AS key"
				 " FROM access.roles r"
				 " WHERE r.organization_id = backoffice.current_organization() AND ($1 IS NULL OR r.name > $1) ORDER BY r.name")
	}},
	{"define_role", "access.manage_roles", 0, {
		"SELECT jsonb_build_object('name', $1, 'permissions', to_jsonb($2), 'inherits', to_jsonb($3))"
		" FROM access.define_role($1, $2, $3)"
	}},
	{"grant_role", "access.manage_roles", 0, {
		"SELECT jsonb_build_object('user_id', $1, 'role', $2, 'valid_until', backoffice.time_text($3))"
		" FROM access.grant_role($1, $2, $3)"
	}},
	{"revoke_role", "access.manage_roles", 0, {
		"SELECT jsonb_build_object('user_id', $1, 'role', $2, 'revoked', access.revoke_role($1, $2))"
	}},
	{"teams", "access.read", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('id', t.id, 'name', t.name, 'created_at', backoffice.time_text(t.created_at),"
				 "         'members', (SELECT coalesce(jsonb_agg(m.user_id ORDER BY m.user_id), '[]') FROM access.team_members m"
				 "                     WHERE m.organization_id = t.organization_id AND m.team_id = t.id)) AS item, t.id::text AS key"
				 " FROM access.teams t"
				 " WHERE t.organization_id = backoffice.current_organization() AND ($1 IS NULL OR t.id > $1) ORDER BY t.id")
	}},
	{"create_team", "access.manage_teams", 0, {
		"SELECT jsonb_build_object('id', t.id, 'name', $1), 201, jsonb_build_array(jsonb_build_object('Location', '/teams/' || t.id))"
		" FROM access.create_team($1) AS t (id)"
	}},
	{"rename_team", "access.manage_teams", 0, {
		"SELECT jsonb_build_object('id', $1, 'name', $2) FROM access.rename_team($1, $2)"
	}},
	{"delete_team", "access.manage_teams", 0, {
		"SELECT jsonb_build_object('id', $1, 'deleted', true) FROM access.delete_team($1) AS deleted WHERE deleted"
	}, {"unknown_team", "there is no such team"}},
	{"add_team_member", "access.manage_teams", 0, {
		"SELECT jsonb_build_object('team_id', $1, 'user_id', $2) FROM access.add_team_member($1, $2)"
	}},
	{"remove_team_member", "access.manage_teams", 0, {
		"SELECT jsonb_build_object('team_id', $1, 'user_id', $2, 'removed', access.remove_team_member($1, $2))"
	}},
	{"organizations", API_PLATFORM, API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('id', o.id, 'name', o.name, 'state', o.state, 'created_at', backoffice.time_text(o.created_at)) AS item,"
				 "       o.id::text AS key"
				 " FROM access.list_organizations() o WHERE $1 IS NULL OR o.id > $1 ORDER BY o.id")
	}},
	{"create_organization", API_PLATFORM, 0, {
		"SELECT jsonb_build_object('id', o.id, 'name', $1), 201, jsonb_build_array(jsonb_build_object('Location', '/organizations/' || o.id))"
		" FROM access.create_organization($1, $2) AS o (id)"
	}},
	{"set_organization_state", API_PLATFORM, 0, {
		"SELECT jsonb_build_object('id', $1, 'state', $2) FROM access.set_organization_state($1, $2)"
	}},
	{"create_api_key", "access.manage_api_keys", API_SECRET, {
		"SELECT k.made, 201, jsonb_build_array(jsonb_build_object('Location', '/api-keys/' || (k.made ->> 'id')))"
		" FROM access.create_api_key($1, $2, $3) AS k (made)"
	}},
	{"api_keys", "access.manage_api_keys", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('id', k.id, 'name', k.name, 'user_id', k.user_id, 'scopes', to_jsonb(k.scopes), 'state', k.state,"
				 "         'created_by', k.created_by, 'created_at', backoffice.time_text(k.created_at),"
				 "         'expires_at', backoffice.time_text(k.expires_at), 'last_used_at', backoffice.time_text(k.last_used_at)) AS item,"
				 "       k.id::text AS key"
				 " FROM access.api_keys k"
				 " WHERE k.organization_id = backoffice.current_organization() AND ($1 IS NULL OR k.id > $1) ORDER BY k.id")
	}},
	{"revoke_api_key", "access.manage_api_keys", 0, {
		"SELECT jsonb_build_object('id', $1, 'revoked', true) FROM access.revoke_api_key($1) AS revoked WHERE revoked"
	}, {"unknown_api_key", "there is no such API key in use"}},
	/* The newest first.  Events write userId, answers user_id. */
	{"audit", "access.read_audit", API_PAGED, {
		API_PAGE("$2",
				 "SELECT jsonb_build_object('id', a.id, 'type', a.type, 'occurred_at', backoffice.time_text(a.occurred_at),"
				 "         'data', (SELECT coalesce(jsonb_object_agg(lower(regexp_replace(d.key, '([A-Z])', '_\\1', 'g')), d.value), '{}')"
				 "                  FROM jsonb_each(a.payload) d)) AS item, a.id::text AS key"
				 " FROM access.audit_entries a"
				 " WHERE a.organization_id = backoffice.current_organization() AND ($1 IS NULL OR a.id < $1) ORDER BY a.id DESC")
	}},
	{"permissions", "access.read", 0, {
		"SELECT jsonb_build_object('items', jsonb_agg(jsonb_build_object('name', p.name, 'description', p.description) ORDER BY p.name),"
		"         'next', NULL)"
		" FROM access.permissions p"
	}},
	{NULL}
};
