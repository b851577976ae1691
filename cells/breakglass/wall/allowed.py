"""The functions that an engineer's session may run. Pure.

Beside these by name it may run what stands behind Postgres' own operators, casts (but to xml) and index orders. Everything else is taken
from PUBLIC in a shard's database and given to the roles that are no engineer's (`server`); `proof` finds what was left.
"""

_AGGREGATES = """
any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg json_agg_strict
json_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg
jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict max min mode percentile_cont percentile_disc range_agg
range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop
stddev_samp string_agg sum var_pop var_samp variance
cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
"""
_TEXT = """
ascii bit_count bit_length btrim casefold char_length character_length chr concat concat_ws convert_from convert_to decode encode format
get_bit get_byte initcap is_normalized left length like like_escape lower lpad ltrim md5 normalize octet_length overlay parse_ident
position quote_ident quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
regexp_split_to_array regexp_split_to_table regexp_substr replace reverse right rpad rtrim sha224 sha256 sha384 sha512 similar_escape
similar_to_escape split_part starts_with string_to_array string_to_table strpos substr substring to_ascii to_bin to_hex to_oct translate
unistr upper
"""
_NUMBERS = """
abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd degrees div erf erfc exp
factorial floor gamma gcd generate_series lcm lgamma ln log log10 min_scale mod numeric_div_trunc pi pow power radians random
random_normal round scale sign sin sind sinh sqrt tan tand tanh to_char to_number trim_scale trunc width_bucket
"""
_TIMES = """
age clock_timestamp date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days justify_hours justify_interval
make_date make_interval make_time make_timestamp make_timestamptz now overlaps statement_timestamp timeofday timezone to_date
to_timestamp transaction_timestamp gen_random_uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7
"""
_COLLECTIONS = """
array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions array_prepend
array_remove array_replace array_reverse array_sort array_to_json array_to_string array_upper cardinality generate_subscripts trim_array
unnest num_nonnulls num_nulls
json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each json_each_text
json_extract_path json_extract_path_text json_object json_object_keys json_populate_record json_populate_recordset json_strip_nulls
json_to_record json_to_recordset json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys
jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
jsonb_populate_record_valid jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record
jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb
daterange int4range int8range isempty lower_inc lower_inf multirange numrange range_merge tsrange tstzrange upper_inc upper_inf
"""
_NETWORK_AND_SEARCH = """
abbrev broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen
get_current_ts_config json_to_tsvector jsonb_to_tsvector numnode phraseto_tsquery plainto_tsquery querytree setweight strip to_tsquery
to_tsvector ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsvector_to_array websearch_to_tsquery
"""
_OF_CLIENTS = """
col_description current_database current_query current_schema current_schemas current_setting current_user format_type
getdatabaseencoding has_any_column_privilege has_column_privilege has_database_privilege has_function_privilege has_schema_privilege
has_sequence_privilege has_table_privilege has_type_privilege obj_description oidvectortypes pg_advisory_unlock_all pg_backend_pid
pg_basetype pg_char_to_encoding pg_client_encoding pg_collation_for pg_collation_is_visible pg_conversion_is_visible
pg_encoding_max_length pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_function_arg_default
pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody pg_get_functiondef
pg_get_indexdef pg_get_keywords pg_get_partkeydef pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef_columns pg_get_triggerdef
pg_get_userbyid pg_get_viewdef pg_has_role pg_input_error_info pg_input_is_valid pg_is_in_recovery pg_is_other_temp_schema
pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible pg_options_to_table pg_relation_is_publishable
pg_relation_is_updatable pg_statistics_obj_is_visible pg_table_is_visible pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone
pg_timezone_names pg_ts_config_is_visible pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible
pg_typeof session_user set_config shobj_description system_user to_regclass to_regcollation to_regnamespace to_regoper to_regoperator
to_regproc to_regprocedure to_regrole to_regtype to_regtypemod version
"""
"""What psql, psycopg, asyncpg, pgx and pgjdbc ask a server. `set_config` and `current_setting` do what SET and SHOW do, which nobody can be
refused: nothing that a session can set decides anything here. `pg_advisory_unlock_all` is how pools clean a session."""

NAMES: tuple[str, ...] = tuple(
    sorted(
        {
            *_AGGREGATES.split(),
            *_TEXT.split(),
            *_NUMBERS.split(),
            *_TIMES.split(),
            *_COLLECTIONS.split(),
            *_NETWORK_AND_SEARCH.split(),
            *_OF_CLIENTS.split(),
        }
    )
)
"""In schema pg_catalog, with all their forms."""

FIRST_OF_USERS = 16_384
"""Postgres gives objects of its own smaller numbers."""

FUNCTIONS = f"""
SELECT p.oid FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.oid < {FIRST_OF_USERS} AND (
  (n.nspname = 'pg_catalog' AND p.proname = ANY ('{{{", ".join(NAMES)}}}'::name[]))
  OR (n.nspname = 'information_schema' AND p.proname LIKE '@_pg@_%' ESCAPE '@')
  OR p.oid IN (SELECT o.oprcode FROM pg_catalog.pg_operator AS o WHERE o.oid < {FIRST_OF_USERS})
  OR (p.proname <> 'xml' AND p.oid IN (SELECT c.castfunc FROM pg_catalog.pg_cast AS c WHERE c.oid < {FIRST_OF_USERS}))
  OR p.oid IN (SELECT s.amproc FROM pg_catalog.pg_amproc AS s JOIN pg_catalog.pg_opfamily AS f ON f.oid = s.amprocfamily
               JOIN pg_catalog.pg_am AS a ON a.oid = f.opfmethod WHERE a.amname IN ('btree', 'hash') AND s.oid < {FIRST_OF_USERS}))
"""  # noqa: S608 - names of a closed list
"""The query for their numbers in one database."""
